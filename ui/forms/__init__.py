"""Forms over immutable values: value(), set_value(), value_changed."""
