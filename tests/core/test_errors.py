from fewbench.core.errors import listed


def test_a_long_list_is_cut():
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed(range(5)) == "0, 1, 2 and 2 more"
    assert listed([]) == ""
