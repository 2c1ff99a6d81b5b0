import pytest

from imgfs.errors import MountError
from imgfs.mount import MountOptions, parse_options


def test_without_options_nothing_is_chosen() -> None:
    assert parse_options("") == MountOptions(uid=None, gid=None)


def test_every_option_is_understood() -> None:
    text = "allow_other,noexec,uid=1000,gid=0,umask=027,fsname=images,tar=verbatim,size=lazy,symlinks=inside"
    text += ",noxattr,locate,kernel"
    assert parse_options(text) == MountOptions(
        allow_other=True,
        noexec=True,
        uid=1000,
        gid=0,
        umask=0o027,
        fsname="images",
        verbatim_tar=True,
        lazy_size=True,
        links_inside=True,
        no_xattrs=True,
        by_kernel=True,
        is_indexed=True,
    )


def test_later_options_win_and_empty_ones_do_not_matter() -> None:
    parsed = parse_options(",tar=verbatim,,size=lazy,tar=joined,size=exact,umask=7,umask=0,")
    assert (parsed.verbatim_tar, parsed.lazy_size, parsed.umask) == (False, False, 0)


def test_what_fstab_passes_along_changes_nothing() -> None:
    text = "defaults,ro,nosuid,nodev,exec,noatime,relatime,nofail,noauto,user,_netdev,x-systemd.automount"
    assert parse_options(text) == MountOptions()


@pytest.mark.parametrize(
    "option",
    [
        *("uid=", "uid=-1", "uid=root", "uid=4294967295", "uid=99999999999", "uid", "gid=1.5", "gid= 1"),
        *("umask=8", "umask=1000", "umask=-1", "umask=", "tar=", "tar=plain", "tar", "size=0"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(option: str) -> None:
    with pytest.raises(MountError, match=f"invalid value for option {option.partition('=')[0]}: "):
        parse_options(f"noexec,{option}")


@pytest.mark.parametrize("option", ["nonsense", "allow_other=1", "Size=lazy", "ro=1", "allow_root"])
def test_an_unknown_option_is_named(option: str) -> None:
    with pytest.raises(MountError, match=f"unknown option: '{option}'"):
        parse_options(option)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("symlink=inside", "symlinks=inside"),
        ("noxattrs", "noxattr"),
        ("allow_others", "allow_other"),
        ("allow_root", "allow_other"),
        ("Size=lazy", "size=lazy"),
        ("guid=5", "uid="),
        ("oumask=022", "umask="),
    ],
)
def test_the_option_that_was_meant_is_suggested(given: str, meant: str) -> None:
    with pytest.raises(MountError, match=f"unknown option: '{given}'; did you mean {meant}\\?"):
        parse_options(given)


def test_words_that_an_option_takes_are_listed() -> None:
    with pytest.raises(MountError, match="'insid' \\(symlinks is asis or inside\\)"):
        parse_options("symlinks=insid")


@pytest.mark.parametrize("option", ["remount", "remount,uid=3"])
def test_a_remount_says_what_to_do(option: str) -> None:
    with pytest.raises(MountError, match="unmount it first"):
        parse_options(option)


@pytest.mark.parametrize("option", ["rw", "suid", "dev"])
def test_what_images_are_never_shown_with_is_refused(option: str) -> None:
    with pytest.raises(MountError, match=f"option {option} is not possible"):
        parse_options(option)


def test_the_kernel_is_always_told_to_be_careful() -> None:
    assert MountOptions().for_kernel == {*("ro", "nosuid", "nodev", "subtype=imgfs", "fsname=imgfs")}
    assert MountOptions(noexec=True).for_kernel >= {"ro", "noexec"}


def test_any_text_can_be_shown_as_the_source() -> None:
    assert "fsname=docker:\\,oci:/a b\\\\c" in MountOptions(fsname="docker:,oci:/a b\\c").for_kernel
    assert "fsname=oci:/\\\\xc3\\\\xa9" in MountOptions(fsname="oci:/é").for_kernel


def test_others_are_let_in_only_as_far_as_the_modes_in_the_tree_let_them() -> None:
    assert MountOptions(allow_other=True).for_kernel >= {"ro", "allow_other", "default_permissions"}
