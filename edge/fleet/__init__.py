"""The fleet: what this device was taught goes to a store that many devices share, and a bundle made of all comes back.
May import `learning`, `retraining` and what is below them."""
