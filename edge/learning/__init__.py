"""The work behind the learner's methods: make a home, teach, answer, correct, measure, report.
May import `retraining`, `audit`, `home`, `network` and everything below them."""
