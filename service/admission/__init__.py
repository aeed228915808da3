"""Admission: limits how much work the service accepts at a time."""
