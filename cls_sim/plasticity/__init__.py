"""The plasticity: how much may weights move today?  A number for each subject."""
