"""How the shadows of an audit are trained: as this site's record says of the audited file."""

from __future__ import annotations

from dataclasses import fields, replace

from embhub.diffusion.attacks.shadows import Setting
from embhub.diffusion.families import device_of
from embhub.diffusion.training.precision import in_bfloat16
from embhub.diffusion.training.recipes import ResolvedRecipe, recorded_recipe
from embhub.errors import UsageError
from embhub.options.adapter import AdapterRecipe
from embhub.options.precision import Precision
from embhub.site.memory.runs import Run


def plan_shadows(setting: Setting, run: Run, precision: Precision | None) -> Setting:
    """The setting with the recipe of the recorded training, in another precision where one is chosen.

    Raises:
        UsageError: a precision that the device has not, or a record without a recipe.
    """
    device = device_of(setting.pipe).type
    if (said := run.settings.get("recipe")) is not None:
        return replace(setting, recipe=recorded_recipe(said, precision, device=device))
    if (said := run.settings.get("adapter")) is None:
        raise UsageError("the record of this training holds no recipe", "use the quick suite")
    names = {item.name for item in fields(AdapterRecipe)}
    adapter = AdapterRecipe(**{name: value for name, value in said.items() if name in names})
    adapter = replace(adapter, precision=precision or adapter.precision)
    mixed = in_bfloat16(device, adapter.precision or "auto")
    recipe = ResolvedRecipe(steps=adapter.steps or 1)  # for the progress alone
    adapter = replace(adapter, precision="bfloat16" if mixed else "float32")
    return replace(setting, recipe=recipe, adapter=adapter)
