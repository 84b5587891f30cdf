"""Stress tests of whole runs: faults and kills, damaged files, a corpus of media."""
