"""Plasticities: schedules of the learning rate, one number for each subject."""
