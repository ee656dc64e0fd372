import shlex

from fewbench.benchmark.training.command_line import command_line


def test_every_option_is_written_out_but_those_left_open():
    options = {"dataset": "omniglot", "epochs": 7, "flip": True, "crop": None, "settings": {"dataset.rotations": False}}
    expected = "bench pretrain --dataset omniglot --epochs 7 --flip --set dataset.rotations=False"
    assert command_line("pretrain", options) == expected


def test_a_flag_that_is_off_and_a_word_with_spaces_come_back_as_they_were():
    words = shlex.split(command_line("train", {"flip": False, "settings": {"note": "two words"}}))
    assert words == ["bench", "train", "--no-flip", "--set", "note=two words"]


def test_several_processes_are_started_by_torchrun():
    assert command_line("train", {}, 2) == "torchrun --nproc-per-node=2 --no-python bench train"
