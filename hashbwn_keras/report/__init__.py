"""Comparing a binarised network with its float network: by layer and as a whole."""

from hashbwn_keras.report.data import LayerReport, OutputReport, Report
from hashbwn_keras.report.measure import report

__all__ = ["LayerReport", "OutputReport", "Report", "report"]
