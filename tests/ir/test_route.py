import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeflow.flow.flow import Selector
from edgeflow.ir.errors import FlowError
from edgeflow.ir.route import ALWAYS, NEVER, Axis, Condition, Variable, assignments

AXES = {
    "scale": Axis(1, 2, 4),
    "exit": Axis(1, 2, 3, 4, 5),
    "go": Axis(False, True),
    "mode": Axis("key", "cut"),
}
VARIABLES = [Variable(name, axis) for name, axis in AXES.items()]


def leaves() -> st.SearchStrategy[Condition]:
    def of(variable: Variable) -> st.SearchStrategy[Condition]:
        values = st.lists(st.sampled_from(variable.axis.values), min_size=1, unique=True)
        return values.map(lambda found: Condition("in", variable=variable.name, values=tuple(found)))

    return st.one_of(st.just(ALWAYS), st.just(NEVER), *(of(variable) for variable in VARIABLES))


def grown(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(lambda p: p[0] & p[1]), pairs.map(lambda p: p[0] | p[1]), inner.map(operator.invert)
    )


conditions = st.recursive(leaves(), grown, max_leaves=8)
routes = st.fixed_dictionaries({name: st.sampled_from(axis.values) for name, axis in AXES.items()})


@given(conditions, st.lists(routes, min_size=1, max_size=6))
def test_mask_agrees_with_holds_for_every_region(condition, regions):
    chosen = {name: np.array([axis.index(r[name]) for r in regions]) for name, axis in AXES.items()}
    mask = condition.mask(chosen, AXES, len(regions))
    assert mask.dtype == bool and mask.tolist() == [condition.holds(route) for route in regions]


@given(conditions, conditions, routes)
def test_operators_mean_what_they_mean_in_python(a, b, route):
    assert (a & b).holds(route) == (a.holds(route) and b.holds(route))
    assert (a | b).holds(route) == (a.holds(route) or b.holds(route))
    assert (~a).holds(route) == (not a.holds(route))


@given(conditions)
def test_json_round_trip(condition):
    assert Condition.from_json(condition.to_json()) == condition


@given(conditions, routes)
def test_reads_only_the_variables_it_names(condition, route):
    assert condition.holds({name: route[name] for name in condition.variables}) == condition.holds(route)


COMPARISONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("wanted", AXES["exit"].values)
def test_comparisons_of_a_chosen_value_select_what_python_would(compare, wanted):
    condition = compare(Selector(Variable("exit", AXES["exit"])), wanted)
    for value in AXES["exit"].values:
        assert condition.holds({"exit": value}) == compare(value, wanted)


def test_a_decision_of_a_truth_value_is_a_condition():
    go = Selector(Variable("go", AXES["go"]))
    both = True & go & (Selector(Variable("exit", AXES["exit"])) > 2)
    assert both.holds({"go": True, "exit": 3})
    assert not both.holds({"go": True, "exit": 2}) and not both.holds({"go": False, "exit": 3})
    assert (~go).holds({"go": False})


def test_a_decision_between_other_values_is_none():
    with pytest.raises(
        FlowError, match=r"exit has the values \(1, 2, 3, 4, 5\): compare it with one of them"
    ):
        Selector(Variable("exit", AXES["exit"])) & True


def test_a_condition_has_no_truth_value_in_python():
    with pytest.raises(FlowError, match="exit=3 has no single truth value: pass it as when="):
        bool(Selector(Variable("exit", AXES["exit"])) == 3)


def test_a_decision_has_no_truth_value_in_python():
    with pytest.raises(FlowError, match="the decision go has no single value"):
        bool(Selector(Variable("go", AXES["go"])))


def test_a_value_outside_its_axis():
    with pytest.raises(FlowError, match=r"9 is not a value of the axis \(1, 2, 3, 4, 5\): use one of these"):
        Selector(Variable("exit", AXES["exit"])) == 9  # noqa: B015


@pytest.mark.parametrize("values", [(), (1, 1), ("a", "a"), (1, 1.0), (1, True)])
def test_an_axis_needs_distinct_values(values):
    with pytest.raises(FlowError, match="an axis needs distinct values"):
        Axis(*values)


def test_truth_is_not_a_number():
    with pytest.raises(FlowError, match="True is not a value of the axis"):
        Axis(1, 2).index(True)


def test_assignments_name_every_route_once():
    found = assignments([Variable("scale", AXES["scale"]), Variable("go", AXES["go"])])
    assert len(found) == len(set(found)) == 6
    assert assignments([]) == [()]


def test_conditions_print_for_people():
    exit = Selector(Variable("exit", AXES["exit"]))
    assert str(exit == 3) == "exit=3"
    assert (
        str((exit >= 4) & (Selector(Variable("scale", AXES["scale"])) == 1)) == "exit in (4, 5) and scale=1"
    )
    assert str(~(exit == 3)) == "not (exit=3)"
