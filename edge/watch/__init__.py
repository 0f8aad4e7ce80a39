"""What runs for as long as a camera does: the loop, its listeners, and what they keep for a person.
May import the learner and everything below it."""
