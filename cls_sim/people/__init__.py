"""Data of people: tables of means with standard errors, or of one number per person, to judge and to fit a model by."""

from cls_sim.people.likelihood import FREE as FREE
from cls_sim.people.likelihood import aic as aic
from cls_sim.people.likelihood import chi_squared as chi_squared
from cls_sim.people.likelihood import fitted as fitted
from cls_sim.people.published import PUBLISHED as PUBLISHED
from cls_sim.people.tables import HALVES as HALVES
from cls_sim.people.tables import People as People
from cls_sim.people.tables import halves as halves
from cls_sim.people.tables import read as read
