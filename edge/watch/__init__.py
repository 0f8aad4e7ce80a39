"""Everything that runs as long as a camera does: the loop, its listeners, and the frames saved for review.
May import the learner and everything below it."""
