"""Base of the stages that pass documents on."""

from pipelines.engine.job import Job
from pipelines.engine.job_output import Table


class DocumentStage(Job):
    """A stage that writes the documents which later stages read. Its table `kept` is a text shard of each task."""

    kept = Table("kept")
