"""Random histories of git: what goes and what stays is what a few commands of git say."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from unlearn.stages.context import Context
from unlearn.stages.erasure.objects.find import Choice, find_in
from unlearn.stages.erasure.objects.purge import purge_in
from unlearn.stages.erasure.objects.stores import Stores, open_stores

from tests.conftest import Repo
from tests.stages.erasure.world import State, World, labelled

_NAMES = ("one", "two")


@dataclass
class Told:
    """A history as it was made, and what git says about it."""

    world: World
    state: State
    states: dict[str, State] = field(default_factory=dict)
    stashes: list[tuple[State, State]] = field(default_factory=list)

    def git(self, *words: str) -> str:
        return self.world.repo.git(*words).strip()

    def fill(self, state: State) -> None:
        self.world.write(state)

    def commit(self, state: State, *words: str) -> None:
        self.world.write(state)
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", "a state", *words)
        self.states[self.git("rev-parse", "HEAD")] = state
        self.state = state

    def switch(self, commit: str, *words: str) -> None:
        self.git("checkout", "--quiet", *words)
        self.state = self.states[self.git("rev-parse", commit)]

    def behind(self, *starts: str) -> set[str]:
        return set(self.git("rev-list", *starts).split()) if starts else set()

    @cached_property
    def refs(self) -> dict[str, str]:
        form = "--format=%(refname) %(objectname)"
        lines = self.git("for-each-ref", form, "refs/heads", "refs/tags", "refs/exps").split("\n")
        return dict(line.split(" ") for line in lines if line)

    def reflog(self, ref: str) -> list[str]:
        return self.git("reflog", "show", "--format=%H", ref).split()


class Person(Told):
    """What people do to a repository; what cannot be done at the moment is skipped."""

    @property
    def here(self) -> str:
        return self.git("rev-parse", "--abbrev-ref", "HEAD")

    def has(self, branch: str) -> bool:
        return branch in self.git("for-each-ref", "--format=%(refname:short)").split()

    def amend(self, state: State, _name: str) -> None:
        if self.git("rev-list", "--count", "HEAD") != "1":
            self.commit(state, "--amend")

    def add(self, state: State, _name: str) -> None:
        self.commit(state)

    def branch(self, _state: State, name: str) -> None:
        if not self.has(name):
            self.switch("HEAD", "-b", name)

    def leave(self, _state: State, name: str) -> None:
        self.switch("HEAD", name if self.has(name) else "main")

    def merge(self, state: State, name: str) -> None:
        if self.has(name):
            self.world.repo.run(
                "git", "merge", "--quiet", "--no-ff", "--no-commit", "-s", "ours", name
            )
            self.commit(state)

    def tag(self, _state: State, name: str) -> None:
        if not self.has(f"v-{name}"):
            self.git("tag", f"v-{name}")

    def delete(self, _state: State, name: str) -> None:
        if self.has(name) and self.here != name:
            self.git("branch", "--quiet", "-D", name)

    def stash(self, state: State, _name: str) -> None:
        self.world.write(state)
        if self.git("status", "--porcelain"):
            self.git("stash", "--quiet")
            self.stashes.append((state, self.state))

    def experiment(self, state: State, name: str) -> None:
        base, branch, at = self.state, self.here, self.git("rev-parse", "HEAD")
        self.git("checkout", "--quiet", "--detach")
        self.commit(state)
        self.git("update-ref", f"refs/exps/{at[:2]}/{at[2:]}/{name}", "HEAD")
        self.git("checkout", "--quiet", branch)
        self.state = base


def expected_gone(told: Told, choice: Choice) -> set[str]:
    """Return what has to go, from what git says."""
    world = told.world
    head = told.behind("HEAD")
    main = head | told.behind("main")
    branch = told.git("rev-parse", "--abbrev-ref", "HEAD")
    rewritten = [commit for ref in {branch, "main"} for commit in told.reflog(ref)]
    own = main | told.behind(*rewritten)
    kept = world.names(told.state)
    for ref, commit in told.refs.items():
        in_history = commit in (head if ref == "refs/heads/main" else main)
        short = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        is_experiment = ref.startswith("refs/exps")
        named = choice.experiments if is_experiment else short in choice.branches
        if named:
            own |= told.behind(commit)
        elif not in_history:
            kept |= world.names(told.states[commit])
    gone: set[str] = set()
    for state, base in told.stashes:
        changed = (state.dataset, state.shards) != (base.dataset, base.shards)
        if choice.stash:
            gone |= world.counted(state)
        elif changed:
            kept |= world.names(state)
    everything = told.behind("--all", "--reflog")
    if choice.reflog:
        elsewhere = told.behind(*told.refs.values())
        own |= {commit for commit in everything - elsewhere if commit in told.states}
    for commit in own & told.states.keys():
        gone |= world.counted(told.states[commit])
    return gone - kept


@pytest.fixture(scope="module")
def opened(
    blank: Repo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Context, Stores]]:
    """Return a project, and its cache: DVC is started once for all histories."""
    world = World(blank.copy(tmp_path_factory.mktemp("histories") / "project"))
    context = world.context
    with open_stores(world.project) as stores:
        yield world, context, stores


_STATES = st.builds(
    State,
    dataset=st.sampled_from(["d0", "d1", "d2"]),
    shards=st.tuples(st.sampled_from(["a0", "a1", "a2"]), st.sampled_from(["b0", "b1"])),
    video=st.sampled_from(["v0", "v1"]),
)
_ACTIONS = st.sampled_from(
    [Person.add] * 3
    + [Person.branch, Person.leave] * 2
    + [Person.merge, Person.amend, Person.tag, Person.delete, Person.stash, Person.experiment]
)
_CHOICES = st.builds(
    Choice,
    branches=st.sets(st.sampled_from(["one", "two", "main", "v-one"])).map(
        lambda names: tuple(sorted(names))
    ),
    stash=st.booleans(),
    experiments=st.booleans(),
    reflog=st.booleans(),
)


# A history takes a second, and looking for a shorter one many of them.
@pytest.mark.slow
@settings(max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    steps=st.lists(st.tuples(_ACTIONS, _STATES, st.sampled_from(_NAMES)), min_size=2, max_size=12),
    last=_STATES,
    choice=_CHOICES,
)
def test_what_goes_is_what_git_says(
    opened: tuple[World, Context, Stores],
    blank: Repo,
    steps: list[tuple[Callable[[Person, State, str], None], State, str]],
    last: State,
    choice: Choice,
) -> None:
    world, context, stores = opened
    root = world.repo.root
    world.repo.git("worktree", "prune")
    shutil.rmtree(root / ".git")
    shutil.rmtree(world.cache)
    shutil.copytree(blank.root / ".git", root / ".git")
    told = Person(world, last)
    told.commit(State("start", ("a0", "b0")))
    for action, state, name in steps:
        action(told, state, name)
    told.commit(last)
    known = tuple(name for name in choice.branches if told.has(name))
    choice = choice.model_copy(update={"branches": known})
    before = world.here()
    gone = expected_gone(told, choice)
    objects = find_in(stores, context, choice)
    assert not objects.stores[0].why
    places = {
        place.name: place for place in purge_in(stores, world.project, objects, lambda _count: None)
    }
    after = world.here()
    assert after == before - gone, (labelled(after & gone, world), before - gone - after)
    counted = set()
    for state in (*told.states.values(), *(state for state, _ in told.stashes)):
        counted |= world.counted(state)
    left = after & counted - world.names(last)
    # A place that is called purged has nothing; what is left is named.
    assert bool(left) == (places["DVC's cache"].state == "pending")
    held = [place for place in places.values() if place.state == "pending"]
    assert bool(left) == bool([place for place in held if place.name != "DVC's cache"])
