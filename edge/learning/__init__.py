"""The learner's work: to make a home, to retrain it, and to say how it stands.
May import `retraining`, `audit`, `home`, `network` and everything below them."""
