"""Python ONNX Runtime under LitServe, which batches waiting texts.

    PEER_MODEL=DIR PEER_GRAPH=FILE PEER_THREADS=1 PEER_WORKERS=2 python bench/peers/onnxruntime_litserve.py PORT
"""

import os
import sys

import litserve
from tagging import Tagger


class Api(litserve.LitAPI):
    def setup(self, device):
        self.tagger = Tagger.from_environment()

    def decode_request(self, request):
        return request["text"]

    def predict(self, texts):
        return self.tagger.tag(texts)

    def encode_response(self, answer):
        return answer


if __name__ == "__main__":
    api = Api(max_batch_size=int(os.environ["PEER_BATCH"]), batch_timeout=0.002, api_path="/ner")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(os.environ["PEER_WORKERS"]), timeout=120)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
