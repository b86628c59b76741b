"""How people and programs log in: providers, passkeys, codes, devices, sessions."""
