"""What will happen before it starts: findings, estimates, advice."""
