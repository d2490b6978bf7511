"""The committed model is what its report says, and as good."""

import hashlib

import pytest
from innervate_models import artifact, evaluation, generation, pretraining, topics
from innervate_models.__main__ import main
from innervate_models.evaluation import Score

BASE = pretraining.BASE


def test_the_weights_are_those_of_the_report():
    report = pretraining.stated()
    digest = hashlib.sha256((BASE / artifact.WEIGHTS).read_bytes()).hexdigest()
    assert report["digest"] == f"sha256:{digest}"
    assert report["recipe"] == pretraining.RECIPE._asdict()
    assert report["tolerance"] == pretraining.TOLERANCE
    assert set(report["quality"]) == set(topics.TOPICS)
    assert min(report["quality"].values()) >= 0.8
    assert sum(path.stat().st_size for path in BASE.iterdir()) < 4 << 20


def test_the_weights_answer_as_well_as_the_report_says():
    model = artifact.load(BASE)
    assert report_size(model) == pretraining.stated()["parameters"]
    scores = evaluation.evaluate(model, evaluation.questions(seed=12, count=40))
    for topic, share in pretraining.stated()["quality"].items():
        # The same 40 questions each time: this is no draw, only another sample than the report's.
        assert scores[topic].asked == 40
        assert scores[topic].share >= share - 0.1, (topic, scores[topic])


def test_quality_within_the_tolerance_agrees():
    expected = {"sums": 0.9, "pets": 1.0}
    assert not pretraining.disagreements({"sums": 0.85, "pets": 0.96}, expected, 0.08)
    assert pretraining.disagreements({"sums": 0.7, "pets": 1.0}, expected, 0.08) == [
        "sums: 0.700 instead of 0.900 ± 0.08"
    ]
    assert pretraining.disagreements({"pets": 1.0}, expected, 0.08)


def test_only_exact_answers_count():
    model = artifact.load(BASE)
    examples = topics.generate(("pets",), seed=1, count=2)
    given = generation.answer(
        model.parameters, model.config, model.tokenizer, [example.prompt for example in examples]
    )
    told = [examples[0]._replace(answer=given[0]), examples[1]._replace(answer=given[1] + "s")]
    assert evaluation.evaluate(model, told) == {"pets": Score(1, 2)}


def test_the_command_makes_data_and_converts(tmp_path, capsys):
    assert main(["data", "--topics", "tickets", "--count", "3", "--golden", "--split", "eval"]) == 0
    lines = capsys.readouterr().out.splitlines()
    made = topics.generate(("tickets",), seed=1, count=3, split="eval")
    assert lines == list(topics.golden_lines(made))
    assert main(["data", "--shuffle", "tickets", "--count", "70"]) == 0
    shuffled = topics.shuffled(topics.generate(topics.TOPICS, seed=1, count=70), ("tickets",), seed=1)
    assert capsys.readouterr().out.splitlines() == list(topics.training_lines(shuffled))
    artifact.convert(BASE, tmp_path / "expected.gguf")
    assert main(["convert", "--into", str(tmp_path / "made.gguf")]) == 0
    assert (tmp_path / "made.gguf").read_bytes() == (tmp_path / "expected.gguf").read_bytes()


@pytest.mark.parametrize("arguments", [["data", "--topics", "weather"], ["evaluate", "/nonexistent"]])
def test_the_command_says_what_is_wrong(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("innervate_models: ")


def report_size(model):
    return sum(int(weight.size) for weight in model.parameters.values())
