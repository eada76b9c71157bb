"""lastmile: teach models to annotate scientific data the way people do, click by click."""
