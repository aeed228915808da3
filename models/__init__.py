"""What hears and what writes: CLAP backends, projection, prompt, decoder and the bundle that ties them together."""
