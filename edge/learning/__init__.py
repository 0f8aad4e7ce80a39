"""The learner's work: to make a home, teach, answer, correct, measure, and say how it stands.
May import `retraining`, `audit`, `home`, `network` and everything below them."""
