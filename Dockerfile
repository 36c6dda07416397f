# The decision server (docs/decisions.md) on the CPU:
#     docker build -t clue .
#     docker run --rm -p 8000:8000 -v "$PWD/checkpoints/clue-urn-tiny:/model:ro" -e CLUE_SERVER_KEY clue
FROM python:3.11-slim

WORKDIR /clue
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY modeling_clue modeling_clue
# Together, and from PyTorch's own index: its builds for the CPU fit each other, and PyPI's torch is one for CUDA.
RUN pip install --no-cache-dir -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch torchvision \
    && pip install --no-cache-dir -c constraints.txt ".[server]" \
    && useradd --create-home clue
USER clue
# The package is installed; this folder would come before it.
WORKDIR /home/clue

EXPOSE 8000
HEALTHCHECK --start-period=5m CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health')"]
# `docker run ... clue --model /model --host 0.0.0.0 --max-media-seconds 300` replaces the options.
ENTRYPOINT ["python", "-m", "modeling_clue.decision_server"]
CMD ["--model", "/model", "--host", "0.0.0.0", "--port", "8000"]
