"""Generated JSON values, with lone surrogates and message keys."""

from __future__ import annotations

from hypothesis import strategies as st

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text("abc\ud800", max_size=3),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "type", "text", ""]), below, max_size=3
        )
    ),
    max_leaves=8,
)
