"""The stages of the workflow as commands: `lastmile stage NAME ...`, which the rules call."""

from __future__ import annotations

import click

from lastmile.errors import UnknownNameError


class LazyStages(click.Group):
    """The group of stages, which is loaded when one of them is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the stages."""
        return self._load().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a stage, or None."""
        return self._load().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a stage; an unknown one is refused with the closest known one."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            error = UnknownNameError("stage", name, self.list_commands(ctx))
            raise click.UsageError(str(error), ctx)
        return super().resolve_command(ctx, args)

    def _load(self) -> click.Group:
        from lastmile.pipeline.command_line import stage_group

        return stage_group()


@click.command(cls=LazyStages)
def stage() -> None:
    """Run one job of a stage, as the rules do."""
