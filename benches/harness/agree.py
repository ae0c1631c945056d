"""Whether two systems computed the same."""

import numpy as np

# The largest error over the largest value of the array. Gradients of a hundred steps, and the losses after updates,
# amplify the order of sums; convolutions by Winograd's algorithm err more than direct ones.
TOLERANCES = {"output": 2e-4, "gradient": 1e-3, "losses": 1e-3}


def compare(ours, theirs):
    """The errors by kind of array, and what differs in words; nothing when all is well."""
    ours, theirs = np.load(ours), np.load(theirs)
    errors, problems = {}, []
    missing = set(ours.files) ^ set(theirs.files)
    if missing:
        problems.append(f"only one side has {', '.join(sorted(missing))}")
    for name in sorted(set(ours.files) & set(theirs.files)):
        a, b = ours[name].astype(np.float64), theirs[name].astype(np.float64)
        if a.shape != b.shape:
            problems.append(f"{name} is {list(a.shape)} here and {list(b.shape)} there")
            continue
        largest = max(np.abs(a).max(), 1e-30)
        error = float(np.abs(a - b).max() / largest)
        kind = name.split()[0]
        if not error <= errors.get(kind, -1.0):
            errors[kind] = error
        # A value that is not finite is never close.
        if not error <= TOLERANCES[kind]:
            problems.append(f"{name} differs by {error:.1e} of its largest value")
    return errors, problems
