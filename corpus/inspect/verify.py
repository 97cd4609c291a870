"""`corpus verify`: check the files of a build against its manifests, then the ledgers against the shards."""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
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
    Product,
    TaskFile,
    read_file,
    task_path,
)
from corpus.store.ledger import Ledger
from corpus.store.products import canonical, sha256_file
from corpus.units import human_bytes

PUBLISHED = ("manifest", "report")  # jobs whose products are copied to the top of the folder
SHOWN_PROBLEMS = 50


@dataclass
class CheckedFiles:
    """Result of checking all files of a build."""

    folder: Path
    jobs: list[BuiltJob] = field(default_factory=list)  # those whose manifests are intact
    products: dict[Path, Product] = field(default_factory=dict)
    manifest: Manifest | None = None
    problems: list[str] = field(default_factory=list)

    def name(self, path: Path) -> str:
        """Return a path relative to the build."""
        return str(path.relative_to(self.folder))


def verify_build(folder: Path) -> None:
    """Print one line if the build is intact. Raises CorpusError that lists every bad file and wrong count."""
    files = check_files(folder)
    if files.problems or files.manifest is None:
        advice = "Delete the files listed here and run `corpus build` again to make them anew. Nothing was recounted."
        raise CorpusError(_message(folder, files.problems, advice))
    problems = _recounted(Build(folder, tuple(files.jobs)), files.manifest)
    if problems:
        advice = "Each file matches its checksum, but these counts do not match the shards."
        raise CorpusError(_message(folder, problems, advice))
    totals = [total for source in files.manifest.sources for total in (source.train, source.holdout)]
    ledgers = [job.file.ledger_json for job in files.jobs if job.kind == "clean"]
    size = human_bytes(sum(row.bytes for row in files.products.values()))
    print(
        f"OK: {len(files.products):,} files ({size}) match their checksums; ledgers match the shards: "
        f"{Ledger.of(ledgers).total('records'):,} records, {sum(total.documents for total in totals):,} documents, "
        f"{sum(total.tokens for total in totals):,} tokens"
    )


def _recounted(build: Build, manifest: Manifest) -> list[str]:
    """Return the problems found by a recount; it ends at a product that cannot be read."""
    import pyarrow as pa  # a build with damaged files does not need it

    from corpus.inspect.recount import Recount

    recount = Recount(build, build.folder)
    try:
        recount.run(manifest)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AssertionError, CorpusError) as error:
        text = " ".join(str(error).split())[:300].replace(f"{build.folder}/", "")
        recount.expect({f"cannot be recounted: {text}": False})
    return recount.problems


def _message(folder: Path, problems: list[str], advice: str) -> str:
    lines = [f"  {problem}" for problem in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"  and {len(problems) - SHOWN_PROBLEMS} more")
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    return "\n".join([f"{open_output(folder).name}: {count}", *lines, advice])


def check_files(folder: Path) -> CheckedFiles:
    """Check sizes, hashes, and that manifests agree with each other. Reads no rows of shards."""
    files = CheckedFiles(folder)
    for name in _job_folders(files):
        if (folder / name).is_dir():
            _read_job(files, folder / name)
        else:
            files.problems.append(f"build.json: names {name}, a folder that is missing")
    files.problems += [*_products(files), *_published(files)]
    if not files.problems:  # otherwise one damaged file would be reported several times
        files.problems += [*_inputs(files), *_manifest(files)]
    return files


def _job_folders(files: CheckedFiles) -> list[str]:
    try:
        return list(_read_canonical(files, BuildFile, files.folder / "build.json").jobs)
    except CorpusError as error:
        files.problems.append(f"{error} (every finished build has one)")
        return [f"jobs/{path.parent.name}" for path in sorted(files.folder.glob("jobs/*/job.json"))]


def _read_canonical(files: CheckedFiles, kind: type[File], path: Path) -> File:
    """Read a file that describes the build. Raises CorpusError unless its bytes are exactly as we write them."""
    try:
        content = read_file(kind, path)
        raw = path.read_bytes()
        same = canonical(json.loads(raw)).encode() == raw
    except CorpusError as error:
        raise CorpusError(str(error).replace(str(path), files.name(path))) from None
    except ValueError:
        same = False
    if not same:
        raise CorpusError(f"{files.name(path)}: modified: not in canonical form")
    return content


def _read_job(files: CheckedFiles, folder: Path) -> None:
    """Read job.json and the manifests of its tasks, and collect the products that they list."""
    job: JobFile | None = None
    paths = sorted(folder.glob("tasks/*.json"))
    try:
        job = _job(files, folder)
        paths = [task_path(folder, number) for number in range(len(job.task_manifests))]
        if job.index and (problem := _product(folder / job.index.name, job.index)):
            place = f"{files.name(folder / job.index.name)}: {problem}"
            files.problems.append(f"{place}, or its entry in {files.name(folder / 'job.json')} is wrong")
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
            files.problems.append(f"{files.name(folder)}/job.json: its ledger is not the sum of its tasks' ledgers")


def _job(files: CheckedFiles, folder: Path) -> JobFile:
    """Read job.json, and check its fingerprint, name and number of tasks."""
    path = folder / "job.json"
    job = _read_canonical(files, JobFile, path)
    description = canonical(json.loads(path.read_bytes())["description"])
    problem = None
    if hashlib.sha256(description.encode()).hexdigest() != job.fingerprint:
        problem = "its fingerprint is not the hash of its description"
    elif folder.name != f"{job.name}-{job.fingerprint[:12]}" or job.description.kind != job.name.partition(".")[0]:
        problem = "its name or fingerprint does not match its folder, or its kind"
    elif len(job.task_manifests) != job.description.tasks:
        problem = f"{len(job.task_manifests)} tasks; its description says {job.description.tasks}"
    if problem:
        raise CorpusError(f"{files.name(path)}: {problem}")
    return job


def _task(files: CheckedFiles, path: Path, job: JobFile | None, number: int) -> TaskFile:
    """Read a task's manifest, and check it against its job, unless that is damaged (None)."""
    task = _read_canonical(files, TaskFile, path)
    if job and sha256_file(path) != job.task_manifests[number]:
        job_file = files.name(path.parent.parent / "job.json")
        raise CorpusError(f"{files.name(path)}: its SHA-256 is not the one in {job_file}; one of the two was modified")
    if job and (task.job, task.task) != (job.fingerprint, number):
        raise CorpusError(f"{files.name(path)}: belongs to a different job or task (expected {number})")
    return task


def _products(files: CheckedFiles) -> list[str]:
    """Hash all products on several threads, with a progress bar on a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("checking", total=sum(row.bytes for row in files.products.values()))
        with ThreadPoolExecutor() as threads:
            advance = partial(progress.advance, bar)
            problems = threads.map(lambda item: (item[0], _product(item[0], item[1], advance)), files.products.items())
            return [f"{files.name(path)}: {problem}" for path, problem in problems if problem]


def _product(path: Path, row: Product, advance: Callable[[int], None] | None = None) -> str | None:
    """Return the problem of a product, if there is one; `advance` is called with the size of each block."""
    try:
        if not path.is_file():
            return "missing"
        size = path.stat().st_size
        if size != row.bytes:
            return f"{size} bytes; expected {row.bytes}"
        if sha256_file(path, advance) != row.sha256:
            return "modified: wrong SHA-256"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _published(files: CheckedFiles) -> Iterator[str]:
    """Check the copies of products at the top of the folder."""
    for job in (job for job in files.jobs if job.name in PUBLISHED):
        for row in (row for task in job.tasks for row in task.products):
            if problem := _product(files.folder / row.name, row):
                yield f"{row.name}: {problem} (it is a copy of the file in {files.name(job.folder)})"


def _inputs(files: CheckedFiles) -> Iterator[str]:
    """Check that the inputs of each job are jobs of this build."""
    try:
        identities = {job.name: job.identity for job in files.jobs}
    except (KeyError, TypeError, AttributeError):
        yield f"{files.folder / 'jobs'}: a task of a fetch job does not list its files"
        return
    for job in files.jobs:
        for name, identity in job.file.description.inputs.items():
            if identities.get(name) != identity:
                yield f"{files.name(job.folder / 'job.json')}: its input {name} is not the one in build.json"
    yield from (f"build.json: names no job {name}" for name in PUBLISHED if name not in identities)


def _manifest(files: CheckedFiles) -> Iterator[str]:
    """Check the files and jobs that manifest.json lists."""
    try:
        manifest = files.manifest = open_manifest(files.folder)
    except CorpusError as error:
        yield str(error).replace(f"{files.folder}/", "").replace("\n", " ")
        return
    fingerprints = {job.name: job.file.fingerprint for job in files.jobs}
    for name, fingerprint in manifest.fingerprints.items():
        if fingerprints.get(name) != fingerprint:
            yield f"manifest.json: made of another {name} than the one in build.json"
    shards = [(shard.file, shard.sha256, shard.file_bytes) for source in manifest.sources for shard in source.shards]
    for file, sha256, size in [(manifest.tokenizer.file, manifest.tokenizer.sha256, None), *shards]:
        row = files.products.get(files.folder / file)
        if row is None or row.sha256 != sha256 or size not in (None, row.bytes):
            yield f"manifest.json: {file} is not a product of this build, or has another size or hash"
