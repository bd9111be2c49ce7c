"""Which objects of DVC go, which stay, and who keeps them."""

import pytest
from unlearn.stages.erasure.objects.find import SHARED, Choice, Objects, find_objects
from unlearn.stages.errors import InputError

from tests.stages.erasure.world import State, World

OLD = State("old", ("a1", "b1"))
NEW = State("new", ("a2", "b1"), video="v1")
OTHER = State("other", ("a3", "b3"), video="v2")


def is_complete(found: Objects) -> bool:
    """Return whether nothing is known that would stay."""
    return not found.pending and all(store.why is None for store in found.stores)


def test_older_states_go_and_unrelated_files_stay(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    found = find_objects(world.context, Choice())
    assert set(found.candidates) & world.here() == world.counted(OLD) | world.counted(NEW)
    cache = found.stores[0]
    assert cache.place == "DVC's cache"
    assert cache.why is None
    assert cache.objects == len(world.counted(OLD) - world.names(NEW))
    assert cache.in_use == len(world.counted(NEW))
    assert is_complete(found)
    assert Objects.model_validate_json(found.model_dump_json()) == found


def test_what_was_never_committed_counts_too(world: World) -> None:
    world.commit(OLD)
    world.write(NEW)
    found = find_objects(world.context, Choice())
    assert world.counted(NEW) <= set(found.candidates)
    assert is_complete(found)


def test_a_dataset_that_had_another_path_is_found(world: World) -> None:
    world.commit(OLD)
    path = world.repo.root / "data/dataset.csv.dvc"
    earlier = world.put(b"an earlier dataset")
    world.repo.git("mv", "data/dataset.csv.dvc", "data/rows.csv.dvc")
    text = (world.repo.root / "data/rows.csv.dvc").read_text()
    moved = text.replace("path: dataset.csv", "path: rows.csv")
    name = next(name for name in world.objects(OLD)["data/dataset.csv"])
    (world.repo.root / "data/rows.csv.dvc").write_text(moved.replace(name, earlier))
    world.repo.set_params(dataset={"path": "data/rows.csv"})
    world.repo.commit("moved")
    world.repo.git("mv", "data/rows.csv.dvc", "data/dataset.csv.dvc")
    path.write_text(text)
    world.repo.set_params(dataset={"path": "data/dataset.csv"})
    world.repo.commit("moved back")
    assert earlier in find_objects(world.context, Choice()).candidates


def test_a_state_that_only_a_merge_commit_had_is_found(world: World) -> None:
    world.commit(OLD)
    world.repo.git("checkout", "--quiet", "-b", "side")
    world.commit(NEW)
    world.repo.git("checkout", "--quiet", "main")
    world.commit(OLD, "nothing new")
    world.repo.git("merge", "--quiet", "--no-commit", "--no-ff", "side")
    world.commit(OTHER, "the merge has what neither side had")
    world.commit(NEW)
    found = find_objects(world.context, Choice())
    assert world.counted(OTHER) <= set(found.candidates)
    assert is_complete(found)


def test_what_amend_replaced_goes(world: World) -> None:
    world.commit(OLD)
    world.write(OTHER)
    world.repo.git("add", "-A")
    world.repo.git("commit", "--quiet", "-m", "first try")
    world.write(NEW)
    world.repo.git("commit", "--quiet", "--amend", "-am", "second try")
    found = find_objects(world.context, Choice())
    assert world.counted(OTHER) <= set(found.candidates)
    assert is_complete(found)


def test_a_stage_of_ones_own_after_the_models_counts(world: World) -> None:
    world.commit(OLD)
    exported, music = world.put(b"exported model"), world.put(b"music")
    final = world.objects(OLD)["models/final_model"][0]
    text = (world.repo.root / "dvc.lock").read_text()
    for name, dep, out, made in (
        ("export", ("models/final_model", final), "export/model.onnx", exported),
        ("compose", ("notes.txt", "0" * 32), "export/music.mid", music),
    ):
        text += f"  {name}:\n    cmd: make\n    deps:\n    - path: {dep[0]}\n"
        text += f"      hash: md5\n      md5: {dep[1]}\n      size: 1\n    outs:\n"
        text += f"    - path: {out}\n      hash: md5\n      md5: {made}\n      size: 1\n"
    (world.repo.root / "dvc.lock").write_text(text)
    world.repo.commit("more stages")
    world.commit(NEW)
    candidates = find_objects(world.context, Choice()).candidates
    assert exported in candidates
    assert music not in candidates


@pytest.mark.slow
def test_the_tip_of_another_branch_keeps_its_objects(world: World) -> None:
    world.commit(OLD)
    world.repo.git("checkout", "--quiet", "-b", "new-rows")
    world.commit(OTHER)
    world.repo.git("checkout", "--quiet", "main")
    world.commit(NEW)
    found = find_objects(world.context, Choice())
    assert not world.names(OTHER) - world.names(OLD) - world.names(NEW) & set(found.candidates)
    assert [pending.place for pending in found.pending] == ["the branch new-rows"]
    assert not is_complete(found)
    named = find_objects(world.context, Choice(branches=("new-rows",)))
    assert world.counted(OTHER) <= set(named.candidates)
    assert is_complete(named)
    assert named.named == ("the branch new-rows",)


def test_a_branch_in_the_history_of_this_one_keeps_nothing(world: World) -> None:
    world.commit(OLD)
    world.repo.git("branch", "merged")
    world.repo.git("tag", "v1")
    world.commit(NEW)
    found = find_objects(world.context, Choice())
    assert is_complete(found)
    assert found.stores[0].objects == len(world.counted(OLD) - world.names(NEW))


@pytest.mark.slow
def test_another_worktree_keeps_what_it_has_checked_out(world: World) -> None:
    world.commit(OLD)
    world.repo.git("checkout", "--quiet", "--detach")
    world.commit(OTHER)
    other = world.repo.git("rev-parse", "HEAD").strip()
    world.repo.git("checkout", "--quiet", "main")
    world.commit(NEW)
    world.repo.git("worktree", "add", "--quiet", "--detach", "../second", other)
    found = find_objects(world.context, Choice())
    assert [pending.place for pending in found.pending] == ["the worktree second"]
    assert is_complete(find_objects(world.context, Choice(branches=("second",))))
    # What is not committed there is named all the same.
    name = world.put(b"rows that only the second worktree has")
    (world.repo.root.parent / "second/more.csv.dvc").write_text(
        f"outs:\n- md5: {name}\n  hash: md5\n  path: more.csv\n"
    )
    found = find_objects(world.context, Choice(owned=True))
    assert found.stores[0].unnamed == ()


def test_the_default_branch_keeps_what_only_its_tip_has(world: World) -> None:
    world.commit(OLD)
    world.repo.git("checkout", "--quiet", "-b", "forget")
    world.commit(NEW)
    world.repo.git("checkout", "--quiet", "main")
    world.commit(OTHER)
    world.repo.git("checkout", "--quiet", "forget")
    found = find_objects(world.context, Choice())
    assert [pending.place for pending in found.pending] == ["the branch main"]
    assert found.stores[0].objects == len(
        world.counted(OLD) - world.names(NEW) - world.names(OTHER)
    )


@pytest.mark.parametrize(
    "kept",
    ["stash", *(pytest.param(kept, marks=pytest.mark.slow) for kept in ("experiments", "reflog"))],
)
def test_stashes_and_experiments_keep_their_objects_unless_named(world: World, kept: str) -> None:
    world.commit(OLD)
    if kept == "stash":
        world.write(OTHER)
        world.repo.git("stash", "--quiet")
        world.write(State("second", ("a4", "b4")))
        world.repo.git("stash", "--quiet")
    elif kept == "experiments":
        world.repo.git("checkout", "--quiet", "--detach")
        world.commit(OTHER)
        world.repo.git("update-ref", "refs/exps/ab/cdef/one", "HEAD")
        world.repo.git("checkout", "--quiet", "main")
    else:
        world.repo.git("checkout", "--quiet", "-b", "gone")
        world.commit(OTHER)
        world.repo.git("checkout", "--quiet", "main")
        world.repo.git("branch", "--quiet", "-D", "gone")
    world.commit(NEW)
    places = {"stash": "the stash", "experiments": "experiments of DVC", "reflog": "git's reflog"}
    found = find_objects(world.context, Choice())
    assert [pending.place for pending in found.pending] == [places[kept]]
    assert found.stores[0].objects == len(world.counted(OLD) - world.names(NEW))
    named = find_objects(world.context, Choice.model_validate({kept: True}))
    assert is_complete(named)
    assert world.counted(OTHER) <= set(named.candidates)


@pytest.mark.slow
def test_objects_that_no_commit_names_make_a_cache_a_shared_one(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    foreign = world.put(b"rows of another project")
    found = find_objects(world.context, Choice())
    assert found.stores[0].why == (
        "no commit here names some objects in it, so another project may use it: --owned says that "
        "none does"
    )
    assert found.stores[0].unnamed_files == 1
    assert found.files == 0
    owned = find_objects(world.context, Choice(owned=True)).stores[0]
    assert owned.why is None
    assert owned.unnamed == (f"files/md5/{foreign[:2]}/{foreign[2:]}",)


@pytest.mark.slow
def test_a_list_that_another_branch_needs_and_nobody_has_stops_all(world: World) -> None:
    world.commit(OLD)
    world.repo.git("checkout", "--quiet", "-b", "new-rows")
    world.commit(OTHER)
    world.repo.git("checkout", "--quiet", "main")
    world.commit(NEW)
    name = world.objects(OTHER)["data/shards"][0]
    world.path(name).unlink()
    (cache,) = find_objects(world.context, Choice()).stores
    assert cache.why == (
        "what the branch new-rows uses is not known: a list of its files is nowhere"
    )
    (cache,) = find_objects(world.context, Choice(branches=("new-rows",))).stores
    # Its files are named by no list now.
    assert cache.unnamed_files > 0


@pytest.mark.slow
def test_a_file_whose_list_is_nowhere_makes_the_cache_a_shared_one(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    name, file, _ = world.objects(OLD)["data/shards"]
    world.path(name).unlink()
    (cache,) = find_objects(world.context, Choice()).stores
    assert cache.why == SHARED
    (cache,) = find_objects(world.context, Choice(owned=True)).stores
    assert cache.unnamed == (f"files/md5/{file[:2]}/{file[2:]}",)


def test_a_lock_that_was_cut_short_loses_no_object(world: World) -> None:
    world.write(OLD)
    text = (world.repo.root / "dvc.lock").read_text()
    (world.repo.root / "dvc.lock").write_text(text[: len(text) // 2] + "\n<<<<<<< HEAD\n")
    world.repo.commit("damaged")
    world.commit(NEW)
    assert world.objects(OLD)["data/shards"][0] in find_objects(world.context, Choice()).candidates


def test_a_name_that_git_does_not_know_is_refused(world: World) -> None:
    with pytest.raises(InputError, match="no branch, tag or worktree 'new'"):
        find_objects(world.context, Choice(branches=("new",)))


def test_a_project_outside_git_is_refused(world: World) -> None:
    world.commit(OLD)
    (world.repo.root / ".git").rename(world.repo.root.parent / "away")
    with pytest.raises(InputError, match="not a git repository"):
        find_objects(world.context, Choice())


@pytest.mark.slow
def test_remotes_of_other_kinds_and_missing_folders_are_pending(world: World) -> None:
    world.commit(OLD)
    world.repo.dvc("remote", "add", "web", "https://localhost:1/data")
    world.repo.dvc("remote", "add", "lost", "../nowhere")
    found = {store.place: store for store in find_objects(world.context, Choice()).stores}
    assert found["the remote web"].why == "remotes of the kind https are not supported"
    assert found["the remote lost"].why == "its folder is not there"
    (world.repo.root.parent / "nowhere").mkdir()
    found = {store.place: store for store in find_objects(world.context, Choice()).stores}
    assert found["the remote lost"].why == (
        "none of this project's objects is in it: is its URL right?"
    )
