import tarfile
from pathlib import Path

from fewbench.tasks.datasets.reading.archives import TarFiles
from fewbench.tasks.datasets.reading.holders import FolderFiles, Member
from fewbench.tasks.datasets.reading.imagenet_files import class_of, imagenet_members, images_by_class, numbered

IDS = ["n01532829", "n01558993"]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_class_is_told_by_file_name_or_folder():
    assert class_of("n0153282900000005.jpg", IDS) == "n01532829"
    assert class_of("images/n01532829_10026.JPEG", IDS) == "n01532829"
    assert class_of("val/n01558993/ILSVRC2012_val_00000001.JPEG", IDS) == "n01558993"
    assert class_of("n01558993.tar", IDS) == "n01558993"
    assert class_of("n02110063/n02110063_1.JPEG", IDS) is None
    assert class_of("n01532829/deeper/1.jpg", IDS) is None


def test_images_of_the_wanted_classes_and_other_wanted_files_are_found(tmp_path):
    touch(tmp_path, "train/n01532829/1.jpg", "train/n02110063/2.jpg", "images/n0155899300000001.jpg", "train.csv", "notes.txt")
    members = imagenet_members(tmp_path, IDS, lambda name: name.endswith(".csv"))
    assert [member.name for member in members] == ["train.csv", "images/n0155899300000001.jpg", "train/n01532829/1.jpg"]


def test_of_a_folder_of_tar_files_only_the_wanted_are_opened(tmp_path, monkeypatch):
    for name in ("n01532829", "n02110063"):
        touch(tmp_path, f"{name}_1.JPEG")
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            archive.add(tmp_path / f"{name}_1.JPEG", f"{name}_1.JPEG")
        (tmp_path / f"{name}_1.JPEG").unlink()
    opened = []
    members_of = TarFiles.members
    monkeypatch.setattr(TarFiles, "members", lambda self, keep: opened.append(self.path.name) or members_of(self, keep))
    assert [member.name for member in imagenet_members(tmp_path, IDS, lambda name: False)] == ["n01532829_1.JPEG"]
    assert opened == ["n01532829.tar"]


def test_of_two_files_with_one_name_the_first_counts():
    first, second = FolderFiles(Path("a")), FolderFiles(Path("b"))
    members = [Member(holder, f"train/n01532829/{number}.jpg") for holder in (first, second) for number in (1, 2)]
    found = images_by_class([*members, Member(first, "train.csv")], IDS)
    assert found == {"n01532829": members[:2]}


def test_ilsvrc_images_are_sorted_by_their_number():
    holder = FolderFiles(Path())
    stems = ["n01532829_100", "n01532829_5", "ILSVRC2012_val_00000001", "n01532829_20", "n0153282900000005"]
    members = [Member(holder, f"n01532829/{stem}.JPEG") for stem in stems]
    assert [member.stem for member in numbered("n01532829", members)] == ["n01532829_5", "n01532829_20", "n01532829_100"]
