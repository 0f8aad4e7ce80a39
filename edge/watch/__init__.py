"""Everything that runs while a camera does: the loop, its listeners, and the frames saved for review.
May import `frigate`, `mqtt`, the learner and everything below it."""
