"""Measure speed: of everything (`bench`), of policies of each size, and the rates for `plan`."""
