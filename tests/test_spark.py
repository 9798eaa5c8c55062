import datetime
import importlib
import json
import math
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from tests.conftest import ROOT, tiny_rows

from druppel.errors import InputError, ModelError
from druppel.labeler import Labeler
from druppel.output import CONTRACT_COLUMNS, json_schema

pyspark = pytest.importorskip("pyspark", reason="needs pyspark: the extra `spark`")
JAVA = Path(os.environ.get("JAVA_HOME", "/"), "bin", "java").exists() or shutil.which("java")
pytestmark = [
    pytest.mark.skipif(not JAVA, reason="needs Java 17"),
    # PySpark says so of any pandas 3; Druppel takes no pandas from it.
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]

# Not imported at the top, where it would fail without PySpark.
module = importlib.import_module("druppel.spark")
label, result_schema = module.label, module.result_schema

CASES = [
    json.loads(line)
    for path in sorted((ROOT / "training" / "cases").glob("*.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()
][::2]
ADDED = [*CONTRACT_COLUMNS, "error"]


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    session = pyspark.sql.SparkSession
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        spark = (
            session.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.session.timeZone", "Europe/Amsterdam")
            .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
            .getOrCreate()
        )
        spark.sparkContext.setLogLevel("OFF")
        yield spark
        spark.stop()


@pytest.fixture(scope="module")
def answers(spark):
    """Texts of the challenge cases with their questions, and grades of several forms."""
    grades = ["7,5", "2", None, "n.v.t."]
    rows = [
        (number, case["text"], case.get("question"), grades[number % len(grades)])
        for number, case in enumerate(CASES)
    ]
    columns = "id long, antwoord string, vraag string, cijfer string"
    return spark.createDataFrame(rows, columns).repartition(4)


def plain(row):
    """The labels of a Spark row as a JSONL row has them."""
    values = row.asDict(recursive=True)
    return {name: values[name] for name in CONTRACT_COLUMNS}


def by_id(frame):
    """All rows, sorted here: `orderBy` draws a sample first, and would label twice."""
    return sorted(frame.collect(), key=lambda row: row.id)


def as_strings(frame, columns):
    """Values as Spark itself writes them, in the order of the ids."""
    strings = frame.select("id", *(as_string(column).alias(column) for column in columns))
    return [tuple(row) for row in by_id(strings)]


def as_string(column):
    return pyspark.sql.functions.col(column).cast("string")


def test_the_labels_are_those_of_label_many(answers, fast_labeler):
    rows = by_id(label(answers, text="antwoord", question="vraag", profile="snel"))
    expected = fast_labeler.label_many(
        [case["text"] for case in CASES], [case.get("question") for case in CASES]
    )
    assert [plain(row) for row in rows] == [result.to_dict() for result in expected]
    assert {row.error for row in rows} == {None}
    assert len({row.sentiment.label for row in rows}) == 4


def test_the_accurate_profile_is_the_default_and_reads_grades(answers, labeler):
    some = answers.where("id < 40")
    rows = by_id(label(some, text="antwoord", score="cijfer", mode="ruim"))
    grades = [[7.5, 2.0, None, None][number % 4] for number in range(40)]
    generous = Labeler(labeler.model, "ruim")
    expected = list(generous.label_many([case["text"] for case in CASES[:40]], scores=grades))
    assert [plain(row) for row in rows] == [result.to_dict() for result in expected]


def test_a_grade_is_read_on_its_scale(spark, fast_labeler):
    rows = [(1, Decimal("1.0"), "Top service"), (2, None, "Top service")]
    frame = spark.createDataFrame(rows, "id int, cijfer decimal(3,1), tekst string")
    labelled = label(frame, text="tekst", score="cijfer", score_scale=5, profile="snel").collect()
    expected = [fast_labeler.label("Top service", score=score) for score in (2.0, None)]
    assert [plain(row) for row in labelled] == [result.to_dict() for result in expected]


def test_evidence_is_found_with_the_offsets_in_sql(answers):
    labelled = label(answers, text="antwoord", profile="snel")
    found = labelled.selectExpr("antwoord", "inline(aspects)")
    wrong = found.where("substring(antwoord, start + 1, end - start) <> evidence")
    assert found.count() > 100
    assert wrong.count() == 0


def test_the_added_columns_are_those_of_the_json_schema():
    def matches(kind, schema):
        if "oneOf" in schema:
            schema = schema["oneOf"][1]
        if hasattr(kind, "fields"):
            assert kind.names == list(schema["properties"])
            return all(
                matches(kind[name].dataType, schema["properties"][name]) for name in kind.names
            )
        if hasattr(kind, "elementType"):
            return matches(kind.elementType, schema["items"])
        types = {"number": "double", "integer": "integer", "boolean": "boolean", "string": "string"}
        kinds = schema.get("type", "string")
        return kind.typeName() == types[kinds if isinstance(kinds, str) else kinds[0]]

    schema = result_schema()
    assert schema.names == ADDED
    assert schema["error"].dataType.typeName() == "string"
    contract = json_schema()["properties"]
    assert all(matches(schema[name].dataType, contract[name]) for name in CONTRACT_COLUMNS)


ODD = """select * from values
(1L, 'Ik wacht al uren', 9007199254740993L, 1Y, double('NaN'), true, 12.340BD, date'2024-02-29',
 timestamp'2024-10-27 00:30:00.123456+00:00', timestamp_ntz'2024-10-27 02:30:00.123457',
 array(1, null, 3), named_struct('a', 9007199254740993L, 'b', double('NaN')),
 map('k', 1, 'l', null), X'00FF', interval '1 02:03:04.000005' day to second),
(2L, null, null, null, null, null, null, date'0001-01-01', timestamp'0001-01-01 00:00:00',
 timestamp_ntz'9999-12-31 00:00:00', null, null, null, null, null),
(3L, '', 3L, 3Y, -0.0D, false, 3BD, date'9999-12-31', timestamp'2024-10-27 01:30:00+00:00', null,
 array(), named_struct('a', null, 'b', null), map(), X'', interval '-1' day)
as t(id, `mijn.tekst`, big, tiny, dbl, bool, dec, date, ts, ntz, arr, struct, map, bin, span)"""


def test_input_columns_come_back_exactly(spark):
    frame = spark.sql(ODD).coalesce(1).withColumnRenamed("dec", "Model")
    labelled = label(frame, text="mijn.tekst", profile="snel")
    names = [name.replace("Model", "Model_input") for name in frame.columns]
    assert labelled.columns == [*names, *ADDED]
    assert [field.dataType for field in labelled.schema[: len(names)]] == [
        field.dataType for field in frame.schema
    ]
    quoted = [f"`{name}`" for name in frame.columns]
    kept = labelled.drop("model").withColumnRenamed("Model_input", "Model")
    assert as_strings(kept, quoted) == as_strings(frame, quoted)
    rows = by_id(labelled.select("id", "dbl", "date", "sentiment", "irritations"))
    assert [math.isnan(row.dbl) for row in rows if row.dbl is not None] == [True, False]
    assert rows[0].date == datetime.date(2024, 2, 29)
    assert [row.sentiment is None for row in rows] == [False, True, True]
    assert [row.irritations for row in rows[1:]] == [[], []]


def test_pandas_would_not_give_them_back_exactly(spark):
    # Why `mapInArrow`: when this fails, `mapInPandas` would do.
    frame = spark.sql(ODD).coalesce(1).select("id", "big", "dbl")
    through_pandas = frame.mapInPandas(lambda frames: frames, frame.schema)
    assert as_strings(through_pandas, ["big"])[0] == (1, "9007199254740992")
    assert as_strings(through_pandas, ["dbl"])[0] == (1, None)


def test_names_that_collide_get_a_suffix(spark):
    frame = spark.sql("select 'x' as model_input, 'y' as Model, 1 as sentiment, 'Top' as tekst")
    once = label(frame, text="tekst", profile="snel")
    assert once.columns[:4] == ["model_input", "Model_input2", "sentiment_input", "tekst"]
    row = once.collect()[0]
    assert (row.Model_input2, row.sentiment_input) == ("y", 1)
    assert row.model.startswith("druppel-nl")


def test_two_columns_with_text(spark, fast_labeler):
    frame = spark.sql("select 'Heerlijk gegeten' as goed, 'De rij was te lang' as beter")
    for text in frame.columns:
        labelled = label(frame, text=text, profile="snel")
        labels = pyspark.sql.functions.struct(*ADDED).alias(f"{text}_labels")
        frame = labelled.select(*frame.columns, labels)
    row = frame.collect()[0]
    assert plain(row.goed_labels) == fast_labeler.label(row.goed).to_dict()
    assert plain(row.beter_labels) == fast_labeler.label(row.beter).to_dict()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"text": "tekst"}, r"No column 'tekst'. The columns are: id, antwoord, vraag, cijfer."),
        (
            {"text": "id"},
            r"Column 'id' must hold text, and is of type bigint. The columns are: id,",
        ),
        ({"text": "antwoord", "question": "q"}, "No column 'q'"),
        ({"text": "antwoord", "score": "nps"}, "No column 'nps'"),
        ({"text": "antwoord", "mode": "soms"}, "'mode' must be one of ruim"),
        ({"text": "antwoord", "profile": "snelst"}, "'profile' must be one of nauwkeurig, snel"),
        ({"text": "antwoord", "score_scale": 0}, "'score_scale' must be a number from 1, got 0"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(answers, asked, message):
    with pytest.raises(InputError, match=message):
        label(answers, **asked)


def test_columns_that_cannot_be_read_are_said_at_once(spark):
    frame = spark.sql("select 'a' as tekst, 'b' as tekst, date'2024-01-01' as dag")
    with pytest.raises(InputError, match="More than one column 'tekst'"):
        label(frame, text="tekst")
    with pytest.raises(InputError, match="'dag' must hold numbers or text, and is of type date"):
        label(frame.toDF("x", "tekst", "dag"), text="tekst", score="dag")
    frame = spark.sql("select 'a' as tekst, interval '1-2' year to month as duur")
    with pytest.raises(InputError, match="columns of this type on: duur"):
        label(frame, text="tekst")


def test_a_folder_without_model_is_said_at_once(answers, tmp_path):
    with pytest.raises(ModelError, match="no model there"):
        label(answers, text="antwoord", model=tmp_path)


def test_a_poisoned_row_costs_only_itself(spark, fast_labeler):
    frame = spark.sql(
        "select id, if(id = 100, cast(X'FF41' as string), 'De rij was te lang') as tekst "
        "from range(300)"
    ).coalesce(1)
    rows = label(frame, text="tekst", profile="snel").collect()
    bad, good = rows.pop(100), fast_labeler.label("De rij was te lang").to_dict()
    assert all(plain(row) == good and row.error is None for row in rows)
    assert bad.error == "could not be labelled (UnicodeDecodeError)"
    empty = {"sentiment": None, "irritations": [], "aspects": [], "signals": []}
    assert plain(bad) == {**good, **empty, "language": None, "review": True}


def test_an_error_holds_nothing_of_the_text(fast_labeler, monkeypatch):
    import pyarrow as pa

    def refuse(texts, *_):
        if "geheim" in list(texts):
            raise RuntimeError(*texts)
        return map(fast_labeler.label, texts)

    broken = Labeler(fast_labeler.model)
    monkeypatch.setattr(broken, "label_many", refuse)
    monkeypatch.setattr(module, "_load", lambda *_: broken)
    job = module._Job(("t", *ADDED), 0, None, None, 10, None, "snel", "gebalanceerd")
    batch = pa.record_batch({"t": ["goed", "geheim", None]})
    (labelled,) = module._label_batches(iter([batch]), job)
    assert labelled["error"].to_pylist() == [None, "could not be labelled (RuntimeError)", None]
    assert labelled["review"].to_pylist() == [False, True, False]
    assert labelled["t"].equals(batch["t"])


def test_a_model_of_ones_own_is_sent_and_loaded_once_a_worker(
    spark, tiny_trained, tmp_path, monkeypatch
):
    folder, seen = tmp_path / "model", tmp_path / "seen"
    shutil.copytree(tiny_trained.folder, folder)
    seen.mkdir()
    real = module._label_batches

    def spy(batches, job):
        from druppel.spark import _label_batches, _load

        yield from _label_batches(batches, job)
        loads = _load.cache_info()
        (seen / f"{os.getpid()}-{loads.hits}").write_text(str(loads.misses))

    texts = [row["text"] for row in tiny_rows()]
    frame = spark.createDataFrame(list(enumerate(texts)), "id int, tekst string").repartition(8)
    monkeypatch.setattr(module, "_label_batches", spy)
    labelled = label(frame, text="tekst", model=folder)
    monkeypatch.setattr(module, "_label_batches", real)
    shutil.rmtree(folder)  # what is sent no longer needs it
    rows = by_id(labelled)
    labelled.collect()
    expected = Labeler.load(tiny_trained.folder).label_many(texts)
    assert [plain(row) for row in rows] == [result.to_dict() for result in expected]
    workers = {}
    for path in seen.iterdir():
        workers.setdefault(path.name.split("-")[0], set()).add(path.read_text())
    assert len(list(seen.iterdir())) == 16
    assert len(workers) <= 4
    assert all(len(misses) == 1 for misses in workers.values())


def test_nothing_runs_before_it_is_asked_for(answers, spark):
    before = spark.sparkContext.statusTracker().getJobIdsForGroup()
    label(answers.selectExpr("*", "raise_error('ran') as oops"), text="antwoord")
    assert spark.sparkContext.statusTracker().getJobIdsForGroup() == before


def test_the_example_runs_under_spark_submit(answers, tmp_path, fast_labeler):
    source, target = tmp_path / "antwoorden.parquet", tmp_path / "gelabeld.parquet"
    answers.coalesce(1).write.parquet(str(source))
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    command = [submit, "--master", "local[2]", "--conf", "spark.ui.enabled=false"]
    job = [ROOT / "examples" / "spark_job.py", source, target, "--text", "antwoord"]
    options = ["--question", "vraag", "--profile", "snel", "--partitions", "2"]
    done = subprocess.run(
        [*map(str, [*command, *job]), *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    labelled = answers.sparkSession.read.parquet(str(target))
    assert labelled.schema == label(answers, text="antwoord").schema
    rows = by_id(labelled)
    assert [row.antwoord for row in rows] == [case["text"] for case in CASES]
    expected = fast_labeler.label(CASES[7]["text"], CASES[7].get("question"))
    assert plain(rows[7]) == expected.to_dict()


def test_without_pyspark_the_message_says_what_to_install():
    code = "import sys, druppel; sys.modules['pyspark'] = None; import druppel.spark"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "InputError: Spark needs pyspark. Install it with: pip install 'druppel[spark]'" in (
        done.stderr
    )


def test_druppel_itself_imports_no_pyspark():
    code = "import sys, druppel; druppel.Labeler; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
