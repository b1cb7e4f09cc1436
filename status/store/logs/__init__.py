"""The rows of an execution's log as they are written: appended, and freed of text that was taken back."""
