from core.jobs.protocol import Metric
from ui.widgets.error_lines import error_lines, layer_of


def metric(layer: str, value: float, relative: float | None = None) -> Metric:
    return Metric(name="quantization_error", value=value, layer=layer, relative=relative)


def test_that_modules_become_one_line_per_type_over_the_layers() -> None:
    lines = error_lines(
        [
            metric("model.layers.1.mlp.down_proj", 4.0),
            metric("model.layers.0.mlp.down_proj", 2.0),
            metric("model.layers.0.self_attn.q_proj", 1.0),
            Metric(name="loss", value=9.0, layer="model.layers.0.mlp.down_proj"),
        ]
    )
    assert [(line.kind, line.points) for line in lines.lines] == [
        ("q_proj", ((1, 1.0),)),
        ("down_proj", ((1, 2.0), (2, 4.0))),
    ]
    assert not lines.relative


def test_that_relative_errors_are_used_only_where_all_modules_have_one() -> None:
    both = error_lines([metric("layers.0.q_proj", 5.0, 0.1), metric("layers.1.q_proj", 6.0, 0.2)])
    assert both.relative
    assert both.lines[0].points == ((1, 0.1), (2, 0.2))
    mixed = error_lines([metric("layers.0.q_proj", 5.0, 0.1), metric("layers.1.q_proj", 6.0)])
    assert not mixed.relative
    assert mixed.lines[0].points == ((1, 5.0), (2, 6.0))


def test_that_the_worst_expert_stands_for_its_layer() -> None:
    lines = error_lines(
        [metric("layers.0.experts.0.up_proj", 1.0), metric("layers.0.experts.1.up_proj", 3.0)],
    )
    assert lines.lines[0].points == ((1, 3.0),)


def test_that_a_zero_error_is_left_out_of_a_log_axis() -> None:
    assert error_lines([metric("layers.0.q_proj", 0.0)]).lines == ()


def test_that_layers_are_counted_from_one() -> None:
    assert layer_of("model.layers.18.mlp.up_proj") == 19
    assert layer_of("lm_head") is None
