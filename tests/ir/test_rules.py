import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import Axis, Variable
from edgeflow.ir.rules import (
    Argmax,
    ConfidenceBelow,
    DriftAbove,
    FirstNonZero,
    KeyFrameInterval,
    Length,
    Nearest,
    Priced,
    ScoreRule,
    Spread,
    StreamContext,
    Table,
    Within,
    parse_rule,
    rule_from_json,
    rules,
)
from edgeflow.ir.sampling import evenly

THREE = Axis("low", "middle", "high")


def scores(rows):
    return np.array(rows, np.float32)


@given(arrays(np.float32, (4, 3), elements=st.floats(-9, 9, width=32)))
def test_argmax_takes_the_first_of_the_largest(logits):
    wanted = [row.tolist().index(max(row.tolist())) for row in logits]
    assert Argmax().decide(logits, THREE).tolist() == wanted


@given(arrays(np.float32, (4, 3), elements=st.sampled_from([0.0, -0.0, 0.25, -1.0])))
def test_first_non_zero_takes_the_last_value_where_all_gates_are_shut(gates):
    wanted = [next((i for i, gate in enumerate(row) if gate), 2) for row in gates.tolist()]
    assert FirstNonZero().decide(gates, THREE).tolist() == wanted


def test_confidence_compares_the_largest_softmax_with_the_threshold():
    even, sure, huge = [0, 0, 0, 0], [4, 0, 0, 0], [1000, 0, 0, 0]  # 0.25, 0.948, 1
    rule, given_scores = ConfidenceBelow(0.9), scores([even, sure, huge])
    assert rule.decide(given_scores, Axis(False, True)).tolist() == [1, 0, 0]
    assert rule.decide(given_scores, Axis(True, False)).tolist() == [0, 1, 1]
    assert ConfidenceBelow(0.95).decide(given_scores, Axis(False, True)).tolist() == [1, 1, 0]
    assert ConfidenceBelow(0.25).decide(scores([even]), Axis(False, True)).tolist() == [0]


@pytest.mark.parametrize("threshold", [-0.1, 1.7, float("nan")])
def test_a_confidence_is_a_probability(threshold):
    with pytest.raises(FlowError, match="the threshold is a probability, 0 to 1, got"):
        ConfidenceBelow(threshold)


def test_confidence_decides_between_truth_values_only():
    with pytest.raises(FlowError, match=r"ConfidenceBelow decides a \(False, True\) axis"):
        ConfidenceBelow(0.5).decide(scores([[1, 2, 3]]), THREE)


@pytest.mark.parametrize("rule", [Argmax(), FirstNonZero()])
def test_scores_are_as_wide_as_the_axis(rule):
    with pytest.raises(FlowError, match=r"needs scores of shape \(regions, 3\), got \(2, 4\)"):
        rule.decide(np.zeros((2, 4), np.float32), THREE)


MODE = Variable("mode", Axis("key", "shortcut"))


def chosen_by(rule, measures, taken=None):
    """What a rule chooses frame by frame; `taken` replaces its choice on some frames."""
    context, found = StreamContext(), []
    for frame, measure in enumerate(measures):
        found.append((taken or {}).get(frame, rule.choose(context, MODE, measure)))
        context.advance({"mode": np.array([found[-1]])})
    return found


def test_a_key_frame_comes_first_and_then_every_interval():
    assert chosen_by(KeyFrameInterval(3), [None] * 7) == [0, 1, 1, 0, 1, 1, 0]


def test_a_key_frame_taken_early_starts_the_interval_anew():
    assert chosen_by(KeyFrameInterval(3), [None] * 7, taken={1: 0}) == [0, 0, 1, 1, 0, 1, 1]


def test_a_key_frame_interval_counts_from_one():
    assert chosen_by(KeyFrameInterval(1), [None] * 3) == [0, 0, 0]
    with pytest.raises(FlowError, match="counts frames from 1 up, got 0"):
        KeyFrameInterval(0)


def test_drift_takes_a_key_frame_at_once_and_never_lets_one_get_too_old():
    measures = [9, 0.1, 0.4, 0.1, 0.1, 0.1, 0.1, float("nan"), 0.3]
    assert chosen_by(DriftAbove(0.3, longest=4), measures) == [0, 1, 0, 1, 1, 1, 0, 0, 1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 6), st.floats(0, 1))
def test_no_frame_is_older_than_the_longest_interval_nor_drifted_too_far(measures, longest, threshold):
    modes = chosen_by(DriftAbove(threshold, longest), measures)
    assert modes[0] == 0
    assert all(0 in modes[i : i + longest] for i in range(len(modes) - longest + 1))
    assert all(measure <= threshold for measure, mode in zip(measures, modes, strict=True) if mode)


def test_drift_wants_a_measure_and_a_frame_to_get_old():
    with pytest.raises(FlowError, match=r"DriftAbove reads a measure: give f\.decide"):
        DriftAbove(0.3, 4).choose(StreamContext(), MODE)
    with pytest.raises(FlowError, match="counts frames from 1 up, got 0"):
        DriftAbove(0.3, 0)


def test_decisions_of_several_regions_have_no_age():
    context = StreamContext()
    context.advance({"exit": np.array([0, 1]), "mode": np.array([1])})
    assert context.since == {}


@pytest.mark.parametrize(
    ("length", "ties", "wanted"),
    [
        *((1, "higher", 4), (5, "higher", 4), (6, "higher", 8), (6, "lower", 4), (7, "lower", 8)),
        *((11, "higher", 8), (12, "higher", 16), (12, "lower", 8), (16, "higher", 16), (99, "lower", 16)),
    ],
)
@pytest.mark.parametrize("axis", [Axis(4, 8, 16), Axis(16, 4, 8)])
def test_nearest_takes_the_closest_number_and_ties_go_as_asked(length, ties, wanted, axis):
    assert axis.values[Nearest(length, ties).choose(StreamContext(), Variable("frames", axis))] == wanted


def test_nearest_reads_the_length_of_an_input_at_run_time():
    rule = Nearest(Length("clip"), "higher")
    assert rule.choose(StreamContext(lengths={"clip": 7}), Variable("frames", Axis(4, 8, 16))) == 1


def test_nearest_needs_numbers():
    with pytest.raises(FlowError, match="Nearest needs an axis of numbers"):
        Nearest(3).choose(StreamContext(), Variable("frames", THREE))


RULES = [
    Argmax(),
    FirstNonZero(),
    ConfidenceBelow(0.75),
    KeyFrameInterval(4),
    Nearest(6),
    Nearest(Length("a"), "lower"),
    Table((0.1, 0.5)),
    Priced(2.0, (0.0, 0.5, 1.0)),
    Spread(2.0, (0.0, 0.5, 1.5)),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_json_round_trip(rule):
    assert rule_from_json(rule.to_json()) == rule


def test_an_unknown_rule():
    with pytest.raises(FlowError, match="unknown decision rule 'dice': known are argmax"):
        rule_from_json({"kind": "dice"})


@given(st.integers(1, 64), st.integers(1, 64))
def test_evenly_spaced_positions_are_each_in_the_middle_of_their_share(length, count):
    positions = evenly(length, count)
    assert len(positions) == count and positions == sorted(positions)
    for i, position in enumerate(positions):
        assert i * length / count - 1 < position < (i + 1) * length / count


def test_evenly_by_hand():
    assert evenly(16, 4) == [2, 6, 10, 14]
    assert evenly(8, 8) == list(range(8))
    assert evenly(2, 4) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("score", "wanted"),
    [(-1.0, "low"), (0.0, "low"), (0.25, "middle"), (0.49, "middle"), (0.5, "high"), (9.0, "high")],
)
def test_a_table_takes_the_value_in_whose_range_the_score_lies(score, wanted):
    (index,) = Table((0.25, 0.5)).decide(scores([[score]]), THREE)
    assert THREE.values[index] == wanted


def test_a_table_that_does_not_fit():
    with pytest.raises(FlowError, match="bounds ascend, got"):
        Table((0.5, 0.25))
    with pytest.raises(FlowError, match="a table of 1 bounds decides 2 values"):
        Table((0.5,)).decide(scores([[0.0]]), THREE)
    with pytest.raises(FlowError, match=r"needs scores of shape \(regions, 1\)"):
        Table((0.25, 0.5)).decide(scores([[0.0, 1.0]]), THREE)


@given(st.lists(st.tuples(*[st.floats(-50, 0, width=32)] * 3), min_size=1, max_size=6), st.floats(0, 1))
def test_a_price_takes_what_is_worth_its_cost_and_quality_never_takes_a_cheaper_way(rows, quality):
    costs = (0.0, 0.4, 1.5)
    rule = Priced(3.0, costs)
    taken = rule.decide(scores(rows), THREE)
    for row, index in zip(rows, taken, strict=True):
        paid = [score - 3.0 * cost for score, cost in zip(row, costs, strict=True)]
        assert paid[index] == pytest.approx(max(paid))
    lower, higher = sorted((quality, 0.5))
    assert (rule.at(lower).decide(scores(rows), THREE) <= rule.at(higher).decide(scores(rows), THREE)).all()


def test_a_price_by_hand():
    rule = Priced(2.0, (0.0, 0.5, 1.5))
    row = scores([[-6.0, -4.0, -1.5]])  # paid: -6, -5, -4.5
    assert [int(rule.at(q).decide(row, THREE)[0]) for q in (0, 0.36, 0.5, 1)] == [0, 1, 2, 2]
    with pytest.raises(FlowError, match="3 costs are for as many values"):
        rule.decide(scores([[0.0, 1.0]]), Axis("low", "high"))
    with pytest.raises(FlowError, match="0 or more"):
        Priced(-1.0, (0.0,))


def test_a_frame_is_whole_where_its_parts_would_cost_more_or_be_worth_less():
    rule, axis = Spread(2.0, (0.0, 0.5, 1.5)), Axis("tiles", "whole")
    still, moving = (0.0, 0.0, 0.0, 0.0), (-30.0, -20.0, -1.0, -1.0)

    def taken(*parts):
        return rule.decide(scores(parts).T.reshape(1, -1), axis).tolist()

    assert [taken(*[moving] * busy, *[still] * (4 - busy)) for busy in range(5)] == [
        [0],
        [0],
        [0],
        [1],
        [1],
    ]  # 3 x 1.5 / 4 > 1
    apart = (-30.0, -20.0, -9.0, -1.0)  # what the whole sees better than a part does
    assert taken(moving, still, still, still) == [0] and taken(apart, still, still, still) == [1]
    assert rule.at(0).decide(scores([apart, still]).T.reshape(1, -1), axis).tolist() == [0]
    with pytest.raises(FlowError, match="spread reads 4 scores of every part, got an array of shape"):
        rule.decide(scores([[0.0, 1.0]]), axis)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("argmax", Argmax()),
        ("interval:4", KeyFrameInterval(4)),
        ("drift:0.3:12", DriftAbove(0.3, 12)),
        ("confidence-below:0.8", ConfidenceBelow(0.8)),
        ("nearest:8", Nearest(8)),
        ("table:0.1:0.5", Table((0.1, 0.5))),
        ("within:2.5", Within(2.5)),
        ("priced:2:0:0.5", Priced(2.0, (0.0, 0.5))),
        ("spread:2:0:1.5", Spread(2.0, (0.0, 1.5))),
    ],
)
def test_rules_as_the_command_line_spells_them(text, rule):
    assert parse_rule(text) == rule


@pytest.mark.parametrize("rule", [rule for rule in rules().values()], ids=lambda rule: rule.kind)
def test_every_rule_is_complete(rule):
    assert rule.__doc__ and rule.word and rule.spelling().startswith(rule.word)


def test_shares_of_a_rule_are_a_whole():
    for rule in RULES[:4]:
        axis = Axis(False, True)
        assert sum(rule.shares(axis)) == pytest.approx(1) and len(rule.shares(axis)) == 2


def calls(budget, cost, count, length=16):
    """What `Within` takes call by call, where value i of (4, 8, 16) costs cost(i) milliseconds."""
    variable, context, taken = Variable("frames", Axis(4, 8, 16)), StreamContext(lengths={"clip": length}), []
    for number in range(count):
        taken.append(Within(budget).choose(context, variable))
        context.advance({"frames": np.array(taken[-1:])})
        context.time(cost(number, taken[-1]))
    return taken


def test_a_deadline_takes_the_longest_that_has_time():
    assert calls(5, lambda number, i: 2 ** (i + 1), 5) == [0, 1, 1, 1, 1]  # 2, 4 and 8 ms
    assert calls(99, lambda number, i: 2 ** (i + 1), 3) == [0, 2, 2]
    assert calls(1, lambda number, i: 2 ** (i + 1), 3) == [0, 0, 0]
    assert calls(99, lambda number, i: 2 ** (i + 1), 3, length=6) == [0, 1, 1]


def test_a_value_that_was_slow_once_is_tried_again():
    taken = calls(9, lambda number, i: 30 if number == 1 else 2 ** (i + 1), 80)
    assert taken[:4] == [0, 2, 1, 1] and taken[-1] == 2
    late = calls(8.5, lambda number, i: (2, 4, 20)[i], 100)
    assert 1 < late.count(2) < 5  # what is too slow is tried seldom


def test_a_deadline_wants_ascending_numbers():
    with pytest.raises(FlowError, match="ascending numbers"):
        Within(3).check_axis(Axis(16, 4))
    with pytest.raises(FlowError, match="more than 0 milliseconds"):
        Within(0)


COMPARING = [
    (Argmax(), THREE, 3),
    (FirstNonZero(), THREE, 3),
    (Priced(0.5, (0.0, 1.0, 3.0)), THREE, 3),
    (Table((-0.5, 1.0)), THREE, 1),
    (ConfidenceBelow(0.6), Axis(False, True), 5),
    (Spread(0.5, (0.1, 0.9)), Axis("tiles", "whole"), 6),
]


def drawn(width):
    """Scores of 200 regions, some of them zero, the later ones larger."""
    values = np.random.default_rng(0).normal(0, 2, (200, width)).astype(np.float32)
    values[np.abs(values) < 1] = 0
    values[:, 2 * width // 3 :] += 1.5
    return values


@pytest.mark.parametrize("rule, axis, width", COMPARING, ids=lambda value: getattr(value, "kind", ""))
def test_what_a_rule_chooses_is_worth_most(rule, axis, width):
    given_scores = drawn(width)
    worth = rule.worth(given_scores, axis, np.zeros(len(axis.values)))
    chosen = rule.decide(given_scores, axis)
    assert rule.compares and worth.shape == (200, len(axis.values))
    assert np.allclose(worth[np.arange(200), chosen], worth.max(1))
    assert len(set(chosen.tolist())) > 1


@pytest.mark.parametrize("rule, axis, width", COMPARING, ids=lambda value: getattr(value, "kind", ""))
def test_a_charge_makes_a_value_rarer_until_it_is_gone(rule, axis, width):
    dear = 0 if isinstance(rule, FirstNonZero) else len(axis.values) - 1  # its first value leaves nothing out
    taken = []
    for charge in (0.0, 0.5, 2.0, 1e6):
        charges = np.zeros(len(axis.values))
        charges[dear] = charge
        taken.append(int((rule.worth(drawn(width), axis, charges).argmax(1) == dear).sum()))
    assert taken == sorted(taken, reverse=True) and taken[0] > taken[2] and taken[-1] == 0


def test_every_score_rule_of_ours_compares_its_values_or_looks_back():
    ours = [own for own in rules().values() if own.__module__.startswith("edgeflow.")]
    assert all(own.compares or own.history for own in ours if issubclass(own, ScoreRule))
