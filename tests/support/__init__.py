"""What several tests share: small data, small networks, files that are damaged on purpose."""
