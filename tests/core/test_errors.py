from fewbench.core.errors import UsageError, UserError, did_you_mean, listed


def test_a_long_list_is_cut():
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed(range(5)) == "0, 1, 2 and 2 more"
    assert listed([]) == ""


def test_a_message_is_one_line_whatever_it_repeats():
    error = UsageError("no file 'a\nb\x1b[2J' " + "x" * 5000 + " but 'ü − ×…'")
    said = str(error)
    assert said.isprintable() and len(said) < 300
    assert said.startswith("no file 'a\\nb\\x1b[2J' xxx") and said.endswith("xxx but 'ü − ×…'")
    assert str(UserError("a\udcffb")) == "a\\udcffb"
    assert str(UserError("a plain message")) == "a plain message"


def test_a_list_of_all_names_stays_short():
    names = [f"name{number:03}" for number in range(1000)]
    assert did_you_mean("name5", ["name4x", *names]).startswith("did you mean 'name")
    assert did_you_mean("zzz", names[:3]) == "known: name000, name001, name002"
    assert did_you_mean("zzz", names).endswith("name029 and 970 more")
    assert did_you_mean("zzz", names, most=2) == "known: name000, name001 and 998 more"
