"""Vision-language agents at the screens of the tasks, as tasks of Inspect."""
