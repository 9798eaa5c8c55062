"""Label a Spark frame: its columns stay as they are, and the labels stand beside them.

The work goes through `mapInArrow`, which is `mapInPandas` without pandas in between. Pandas would
change the input columns on their way: a NaN becomes null, a whole number beside a null loses its
last digits, a timestamp before 1677 or after 2262 fails. Arrow hands them back bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

from druppel.errors import InputError
from druppel.labeler import BATCH_SIZE, Labeler
from druppel.model import BALANCED, FAST, MODES, PROFILES
from druppel.output import keep_input_columns
from druppel.result import Result
from druppel.store import ENCODER_FILES, MANIFEST, load_model
from druppel.tables import listed, parse_score

try:
    import pyarrow as pa
    from pyspark import SparkFiles, TaskContext
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import (
        ArrayType,
        BooleanType,
        CharType,
        DataType,
        DoubleType,
        IntegerType,
        NumericType,
        StringType,
        StructField,
        StructType,
        VarcharType,
    )
except ImportError as error:
    _MISSING = f"Spark needs {error.name}. Install it with: pip install 'druppel[spark]'"
    raise InputError(_MISSING) from None

_WORDS = (StringType, CharType, VarcharType)
_GRADES = (*_WORDS, NumericType)
_ARROW: dict[type[DataType], pa.DataType] = {
    BooleanType: pa.bool_(),
    DoubleType: pa.float64(),
    IntegerType: pa.int32(),
    StringType: pa.string(),
}


@dataclass(frozen=True)
class _Job:
    """What an executor must know.

    Attributes
    ----------
    names : tuple of str
        Columns of the output, the input's first.
    text, question, score : int or None
        Places of the columns to read.
    score_scale : float
    model : str or None
        Name under which the model was sent; None for the one that ships with Druppel.
    profile : str or None
    mode : str
    """

    names: tuple[str, ...]
    text: int
    question: int | None
    score: int | None
    score_scale: float
    model: str | None
    profile: str | None
    mode: str


def result_schema() -> StructType:
    """Return the columns that `label` adds: those of the output contract, and ``error``.

    A JSONL row has the same, so ``spark.read.schema(result_schema()).json(path)`` reads what
    ``druppel label`` wrote. All may be null, for so they are when read back from a file.

    Examples
    --------
    >>> result_schema()["sentiment"].simpleString()
    'sentiment:struct<label:string,score:double>'
    """
    evidence = {"start": IntegerType(), "end": IntegerType(), "evidence": StringType()}
    aspect = _struct(
        category=StringType(),
        leaf=StringType(),
        polarity=StringType(),
        probability=DoubleType(),
        **evidence,
    )
    signal = _struct(signal=StringType(), probability=DoubleType(), **evidence)
    return _struct(
        sentiment=_struct(label=StringType(), score=DoubleType()),
        irritations=ArrayType(StringType()),
        aspects=ArrayType(aspect),
        signals=ArrayType(signal),
        language=StringType(),
        review=BooleanType(),
        model=StringType(),
        error=StringType(),
    )


def label(
    df: DataFrame,
    *,
    text: str,
    question: str | None = None,
    score: str | None = None,
    score_scale: float = 10,
    model: str | Path | None = None,
    profile: str | None = None,
    mode: str = BALANCED,
) -> DataFrame:
    """Add the columns of `result_schema` to a Spark frame, lazily.

    Druppel must be installed on every executor. A Python worker loads the model once and keeps
    it for the tasks that follow.

    Parameters
    ----------
    df : DataFrame
        Of Spark or Spark Connect. Its columns keep their order, types and values; one that bears
        the name of an added column, in whatever case, is kept under a suffix.
    text : str
        Name of the column that holds the feedback; null and empty texts get empty labels.
    question : str, optional
        Name of the column that holds the question.
    score : str, optional
        Name of the column that holds the customer's grade: numbers, or text such as ``"7,5"``.
    score_scale : float, default=10
        The best grade that a customer could give.
    model : str or Path, optional
        A model folder, on the machine that calls this; it is sent to the executors. By default
        they use the model that ships with the Druppel they have.
    profile : {"nauwkeurig", "snel"}, optional
        By default ``nauwkeurig`` where the model has an encoder.
    mode : {"ruim", "gebalanceerd", "streng"}, default="gebalanceerd"

    Returns
    -------
    DataFrame
        A row for each row. ``error`` is null, unless that row could not be labelled; it then
        names the kind of error, the labels are empty and ``review`` is true.

    Raises
    ------
    InputError
        If a column does not exist, or is of a type that cannot be used or passed on, or there
        is no such profile or mode.
    ModelError
        If the folder holds no model, or a damaged one, or has no such profile.
    """
    _check_choice("mode", mode, MODES)
    if profile is not None:
        _check_choice("profile", profile, PROFILES)
    if not (math.isfinite(score_scale) and score_scale >= 1):
        msg = f"'score_scale' must be a number from 1, got {score_scale!r}."
        raise InputError(msg)
    given, added = df.schema.fields, result_schema()
    text_at = _find(given, text, _WORDS, "text")
    question_at = None if question is None else _find(given, question, _WORDS, "text")
    score_at = None if score is None else _find(given, score, _GRADES, "numbers or text")
    shipped = None
    if model is not None:
        # Read here first: one line says what is wrong with it, and not an executor's log.
        profile = load_model(model, profile).profile
        shipped = _ship(df.sparkSession, Path(model), profile)
    kept = [
        StructField(name, field.dataType, field.nullable, field.metadata)
        for name, field in zip(_kept_names(df.columns, added.names), given, strict=True)
    ]
    schema = StructType([*kept, *added.fields])
    job = _Job(
        names=tuple(schema.names),
        text=text_at,
        question=question_at,
        score=score_at,
        score_scale=score_scale,
        model=shipped,
        profile=profile,
        mode=mode,
    )
    # By number, for Spark would read a dot in a name as a path, and refuse a name that is there
    # twice.
    numbered = df.toDF(*(f"c{number}" for number in range(len(given))))
    try:
        return numbered.mapInArrow(partial(_label_batches, job=job), schema)
    except NotImplementedError:
        odd = [field.name for field in given if "interval" in field.dataType.simpleString()]
        if not odd:
            raise
        msg = f"Spark cannot pass columns of this type on: {listed(odd)}. Cast them to string."
        raise InputError(msg) from None


def _struct(**kinds: DataType) -> StructType:
    return StructType([StructField(name, kind) for name, kind in kinds.items()])


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        msg = f"{name!r} must be one of {', '.join(allowed)}, got {value!r}."
        raise InputError(msg)


def _find(
    fields: Sequence[StructField], name: str, kinds: tuple[type[DataType], ...], wanted: str
) -> int:
    """Place of a column by its name."""
    names = [field.name for field in fields]
    if names.count(name) == 1 and isinstance(fields[names.index(name)].dataType, kinds):
        return names.index(name)
    if name not in names:
        said = f"No column {name!r}."
    elif names.count(name) > 1:
        said = f"More than one column {name!r}."
    else:
        kind = fields[names.index(name)].dataType.simpleString()
        said = f"Column {name!r} must hold {wanted}, and is of type {kind}."
    msg = f"{said} The columns are: {listed(names)}."
    raise InputError(msg)


def _kept_names(columns: Sequence[str], added: Sequence[str]) -> list[str]:
    """Names of the input columns in the output; Spark takes `Model` and `model` for one name."""
    lower = [column.lower() for column in columns]
    kept = keep_input_columns(lower, added)
    return [
        column + new.removeprefix(old)
        for column, old, new in zip(columns, lower, kept, strict=True)
    ]


@cache
def _outbox() -> tempfile.TemporaryDirectory[str]:
    """Folder of what is sent; executors that join later fetch it too, so it stays to the end."""
    return tempfile.TemporaryDirectory(prefix="druppel-spark-")


def _ship(session: SparkSession, folder: Path, profile: str) -> str:
    """Send a model to the executors, and return the name under which they find it.

    It travels as an archive: Spark sends no local folder to a cluster, fetches an archive once
    for each executor, not for each task, and Spark Connect can do it too. The name tells its
    content, so that two folders of one name do not collide.
    """
    manifest = (folder / MANIFEST).read_bytes()
    files = set(json.loads(manifest)["sha256"])
    if profile == FAST:
        files -= set(ENCODER_FILES)
    digest = hashlib.sha256(manifest + " ".join(sorted(files)).encode()).hexdigest()
    name = f"druppel-{digest[:20]}"
    archive = Path(_outbox().name) / f"{name}.zip"
    if not archive.exists():
        with zipfile.ZipFile(archive, "w") as packed:
            for file in sorted({MANIFEST, *files}):
                # The default date of ZipInfo is a constant: the same model, the same bytes.
                packed.writestr(zipfile.ZipInfo(file), (folder / file).read_bytes())
    session.addArtifacts(f"{archive}#{name}", archive=True)
    return name


@lru_cache(maxsize=2)
def _load(model: str | None, profile: str | None, mode: str) -> Labeler:
    """Load a model in a Python worker: once, for Spark gives it task after task."""
    labeler = Labeler.load(
        None if model is None else SparkFiles.get(model), profile=profile, mode=mode
    )
    if labeler.model.encoder is not None:
        # Spark runs a worker for every task slot; more threads than a slot has would only
        # get into each other's way.
        task = TaskContext.get()
        labeler.model.encoder.n_threads = 1 if task is None else task.cpus()
    return labeler


def _label_batches(batches: Iterator[pa.RecordBatch], job: _Job) -> Iterator[pa.RecordBatch]:
    """Label a partition, a few hundred rows at a time."""
    added = result_schema().fields
    for batch in batches:
        labeler = _load(job.model, job.profile, job.mode)  # not for an empty partition
        for start in range(0, batch.num_rows, BATCH_SIZE):
            piece = batch.slice(start, BATCH_SIZE)
            rows = _label_rows(labeler, piece, job)
            labels = [
                pa.array([row[field.name] for row in rows], _arrow_type(field.dataType))
                for field in added
            ]
            yield pa.RecordBatch.from_arrays([*piece.columns, *labels], names=list(job.names))


def _label_rows(labeler: Labeler, batch: pa.RecordBatch, job: _Job) -> list[dict[str, Any]]:
    """Label rows together, or one by one where one of them fails: it costs only itself."""
    try:
        texts = [text or "" for text in batch.column(job.text).to_pylist()]
        questions = None if job.question is None else batch.column(job.question).to_pylist()
        scores = None
        if job.score is not None:
            cells = batch.column(job.score).to_pylist()
            scores = [parse_score(cell, job.score_scale) for cell in cells]
        found = list(labeler.label_many(texts, questions, scores))
    except Exception as error:
        if batch.num_rows > 1:
            rows = (batch.slice(row, 1) for row in range(batch.num_rows))
            return [done for row in rows for done in _label_rows(labeler, row, job)]
        empty = Result(None, (), (), None, True, labeler.model.title)
        # The kind only: a message might quote the text.
        return [{**empty.to_dict(), "error": f"could not be labelled ({type(error).__name__})"}]
    return [{**result.to_dict(), "error": None} for result in found]


def _arrow_type(kind: DataType) -> pa.DataType:
    if isinstance(kind, StructType):
        return pa.struct([(field.name, _arrow_type(field.dataType)) for field in kind.fields])
    if isinstance(kind, ArrayType):
        return pa.list_(_arrow_type(kind.elementType))
    return _ARROW[type(kind)]
