"""The timeline of a planned pipeline: the plan's seconds put on DeepSpeed's own instruction streams."""

from components.planning.engine_facts import OUR_ENGINE
from components.planning.hardware import Hardware
from components.planning.layout_plan import LayoutPlan
from components.planning.step_time import stage_times
from model.config import ModelConfig
from model.pipeline_schedule import Work, timeline


def planned_timeline(
    plan: LayoutPlan, model: ModelConfig, vocab_size: int, hardware: Hardware, most_micro_batches: int
) -> tuple[list[Work], int]:
    """The work of every stage at the high end of the efficiency, and of how many micro-batches it is."""
    times = stage_times(model, vocab_size, plan.config, hardware, OUR_ENGINE, hardware.kind.efficiency.high)
    drawn = min(plan.config.accumulation_steps, most_micro_batches)
    works = timeline(
        drawn,
        [stage.forward + stage.tensor_forward for stage in times],
        [stage.backward + stage.tensor_backward for stage in times],
        times[0].message,
    )
    return works, drawn
