"""`corpus verify`: every file of a build against what was written down of it, then the counts against the shards."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from corpus.errors import CorpusError
from corpus.fetch.output import open_output
from corpus.store.corpus_manifest import Manifest, open_manifest
from corpus.store.finished_build import (
    Build,
    BuildFile,
    BuiltJob,
    File,
    JobFile,
    ProductRow,
    TaskFile,
    read_file,
    task_path,
)
from corpus.store.ledger import Ledger
from corpus.store.products import canonical, sha256_file
from corpus.units import human_bytes

PUBLISHED = {"manifest": ("manifest.json", "recipe.json"), "report": ("report.html", "summary.json")}
SHOWN_PROBLEMS = 50
BAR_AFTER_S = 2.0


@dataclass
class Files:
    """What a look at all files brought. `jobs` are those whose own files are whole."""

    folder: Path
    jobs: list[BuiltJob] = field(default_factory=list)
    products: dict[Path, ProductRow] = field(default_factory=dict)
    manifest: Manifest | None = None
    problems: list[str] = field(default_factory=list)

    def named(self, path: Path) -> str:
        """A path as seen from the build's folder."""
        return str(path.relative_to(self.folder))


def verify_build(folder: Path) -> None:
    """Prints a line that says what was checked. Raises CorpusError that names every bad file, and what is wrong."""
    files = check_files(folder)
    if files.problems or files.manifest is None:
        advice = "Delete those that are there and run `corpus build` again: it makes them anew. Nothing was recounted."
        raise CorpusError(_message(folder, files.problems, advice))
    problems = list(_recount(Build(folder, tuple(files.jobs)), files.manifest))
    if problems:
        advice = "Each file is as its manifest says, but what these say is not what the shards hold."
        raise CorpusError(_message(folder, problems, advice))
    print(_summary(files, files.manifest))


def _recount(build: Build, manifest: Manifest) -> Iterator[str]:
    """All that the manifests count, counted again from the shards; nothing that rests on what is wrong already."""
    from corpus.inspect.recount_counting import guarded
    from corpus.inspect.recount_text import Texts, count_decisions, count_source
    from corpus.inspect.recount_tokens import count_tokens

    sound, dedup = [], Ledger()
    for source in build.sources:
        texts = Texts(source)
        problems = list(count_source(build, texts, dedup))
        yield from problems
        sound += [] if problems else [texts]
    if len(sound) == len(build.sources):
        yield from guarded(build, build.job("dedup").folder, count_decisions(build, sound, dedup))
    for texts in sound:
        yield from count_tokens(build, manifest, texts)


def _message(folder: Path, problems: list[str], advice: str) -> str:
    lines = [f"  {problem}" for problem in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"  and {len(problems) - SHOWN_PROBLEMS} more")
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    return "\n".join([f"{open_output(folder).name}: {count}", *lines, advice])


def _summary(files: Files, manifest: Manifest) -> str:
    parts = [part for source in manifest.sources for part in (source.train, source.holdout)]
    records = sum(Ledger.of([job.file.ledger_json]).total("records") for job in files.jobs if job.kind == "clean")
    size = human_bytes(sum(row.bytes for row in files.products.values()))
    return (
        f"{files.folder}: all well: {len(files.products):,} files ({size}) of {len(files.jobs)} jobs are as written; "
        f"recounted from the shards: {records:,} records, {sum(part.documents for part in parts):,} documents, "
        f"{sum(part.tokens for part in parts):,} tokens of {len(manifest.sources)} sources"
    )


def check_files(folder: Path) -> Files:
    """Checks sizes and hashes, and that the manifests agree; collects what is wrong. Reads no shard's rows."""
    files = Files(folder)
    for name in _job_folders(files):
        if (folder / name).is_dir():
            _read_job(files, folder / name)
        else:
            files.problems.append(f"build.json: names {name}, a folder that is missing")
    files.problems += [*_hashes(files), *_copies(files)]
    if not files.problems:  # else what is damaged would be said of what is not
        files.problems += [*_chain(files), *_manifest(files)]
    return files


def _job_folders(files: Files) -> list[str]:
    try:
        names = _canonical(files, BuildFile, files.folder / "build.json").jobs
    except CorpusError as error:
        files.problems.append(f"{error} (a build that reached its end has one)")
        return [f"jobs/{path.parent.name}" for path in sorted(files.folder.glob("jobs/*/job.json"))]
    return list(names)


def _canonical(files: Files, kind: type[File], path: Path) -> File:
    """Reads one of our own files. Raises CorpusError if its bytes are not just those that we would write."""
    where = files.named(path)
    try:
        found = read_file(kind, path)
        raw = path.read_bytes()
        same = canonical(json.loads(raw)).encode() == raw
    except CorpusError as error:
        raise CorpusError(str(error).replace(str(path), where)) from None
    except ValueError:
        same = False
    if not same:
        raise CorpusError(f"{where}: damaged: not as we write it")
    return found


def _read_job(files: Files, folder: Path) -> None:
    """Reads job.json and the tasks' manifests, and notes the products that they vouch for."""
    job: JobFile | None = None
    paths = sorted(folder.glob("tasks/*.json"))
    try:
        job = _job(files, folder)
        paths = [task_path(folder, number) for number in range(len(job.task_manifests))]
    except CorpusError as error:
        files.problems.append(str(error))
    tasks: list[TaskFile] = []
    for number, path in enumerate(paths):
        try:
            task = _task(files, path, job, number)
        except CorpusError as error:
            files.problems.append(str(error))
            continue
        tasks.append(task)
        files.products.update({folder / row.name: row for row in task.products})
    if job and len(tasks) == len(paths):
        files.jobs.append(BuiltJob(folder, job, tuple(tasks)))
        if Ledger.of([task.ledger_json for task in tasks]).json() != job.ledger_json:
            files.problems.append(
                f"{files.named(folder / 'job.json')}: its ledger is not the sum of its tasks' ledgers"
            )


def _job(files: Files, folder: Path) -> JobFile:
    """Reads job.json, which must agree with itself and with its folder's name."""
    path = folder / "job.json"
    job = _canonical(files, JobFile, path)
    described = canonical(json.loads(path.read_bytes())["description"])
    if hashlib.sha256(described.encode()).hexdigest() != job.fingerprint:
        raise CorpusError(f"{files.named(path)}: its fingerprint is not the hash of its description")
    if folder.name != f"{job.name}-{job.fingerprint[:12]}" or job.description.kind != job.name.partition(".")[0]:
        raise CorpusError(f"{files.named(path)}: its name or fingerprint is not that of its folder, or of its kind")
    if len(job.task_manifests) != job.description.tasks:
        raise CorpusError(
            f"{files.named(path)}: {len(job.task_manifests)} tasks; its description says {job.description.tasks}"
        )
    return job


def _task(files: Files, path: Path, job: JobFile | None, number: int) -> TaskFile:
    """Reads a task's manifest, which its job, if that can be read, must vouch for."""
    task = _canonical(files, TaskFile, path)
    if job and sha256_file(path) != job.task_manifests[number]:
        beside = files.named(path.parent.parent / "job.json")
        raise CorpusError(f"{files.named(path)}: not the file that {beside} vouches for: one of the two was changed")
    if job and (task.job, task.task) != (job.fingerprint, number):
        raise CorpusError(f"{files.named(path)}: of another job, or of another task than {number}")
    return task


def _chain(files: Files) -> Iterator[str]:
    """Each job's inputs are jobs of this build, and those of clean have found what they say."""
    try:
        fingerprints = {job.name: job.identity for job in files.jobs}
    except (KeyError, TypeError, AttributeError):
        yield f"{files.folder / 'jobs'}: a task of a fetch job does not list its files"
        return
    for job in files.jobs:
        for name, fingerprint in job.file.description.inputs.items():
            if fingerprints.get(name) != fingerprint:
                yield f"{files.named(job.folder / 'job.json')}: its input {name} is not the one in build.json"
    for name in PUBLISHED:
        if name not in fingerprints:
            yield f"build.json: names no job {name}"


def _hashes(files: Files) -> list[str]:
    """Hashes all products on several threads."""
    size = sum(row.bytes for row in files.products.values())
    with _late_bar(size) as advance, ThreadPoolExecutor() as threads:
        found = threads.map(lambda each: _product_problem(each[0], each[1], advance), files.products.items())
        return [
            f"{files.named(path)}: {problem}" for path, problem in zip(files.products, found, strict=True) if problem
        ]


def _product_problem(path: Path, row: ProductRow, advance: Callable[[int], None]) -> str | None:
    try:
        if not path.is_file():
            return "missing"
        size = path.stat().st_size
        if size != row.bytes:
            return f"{size} bytes; {row.bytes} were written"
        if sha256_file(path, advance) != row.sha256:
            return "changed: its SHA-256 is not that of what was written"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


@contextmanager
def _late_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr for whoever waits longer than a moment at a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bars:
        bar = bars.add_task("checking", total=total, visible=False)
        start = time.monotonic()

        def advance(size: int) -> None:
            bars.update(bar, advance=size, visible=time.monotonic() - start > BAR_AFTER_S)

        yield advance


def _copies(files: Files) -> Iterator[str]:
    """What lies at the top of the folder is what its job wrote."""
    jobs = {job.name: job for job in files.jobs}
    for name, published in PUBLISHED.items():
        for file in published if name in jobs else ():
            row = files.products.get(jobs[name].folder / file)
            if row is None:
                yield f"{files.named(jobs[name].folder)}: wrote no {file}"
            elif problem := _product_problem(files.folder / file, row, lambda size: None):
                yield f"{file}: {problem} (it is a copy of the one in {files.named(jobs[name].folder)})"


def _manifest(files: Files) -> Iterator[str]:
    """What manifest.json says of files and jobs agrees with these."""
    try:
        manifest = files.manifest = open_manifest(files.folder)
    except CorpusError as error:
        yield str(error).replace(f"{files.folder}/", "").replace("\n", " ")
        return
    fingerprints = {job.name: job.file.fingerprint for job in files.jobs}
    for name, fingerprint in manifest.fingerprints.items():
        if fingerprints.get(name) != fingerprint:
            yield f"manifest.json: made of another {name} than the one in build.json"
    stated = [(shard.file, shard.sha256, shard.file_bytes) for source in manifest.sources for shard in source.shards]
    for file, sha256, size in [(manifest.tokenizer.file, manifest.tokenizer.sha256, None), *stated]:
        row = files.products.get(files.folder / file)
        if row is None or row.sha256 != sha256 or size not in (None, row.bytes):
            yield f"manifest.json: {file} is not, or not in this form, a product of this build"
