"""Any JSON value, as hypothesis draws it: a strategy that several property tests share."""

from hypothesis import strategies as st

from blueplane.capture import vocabulary as words

surrogates = st.text(st.characters(exclude_categories=()))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**62, max_value=2**70)
    | st.floats()
    | surrogates,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(surrogates | st.sampled_from(sorted(words.PLAIN)), inner, max_size=5)
    ),
    max_leaves=30,
)
