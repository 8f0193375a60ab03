"""What answers: models of properties and how their answers are joined."""
