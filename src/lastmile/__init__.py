"""lastmile: teach models to annotate scientific data the way people do, click by click."""

from lastmile.simulation.registration import register_environments

register_environments()
