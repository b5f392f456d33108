"""A real gRPC server with the health protocol: grpc_server.py PORT FILE.

FILE says whether it serves: its content is the ServingStatus, a number.
"""
import sys
from concurrent import futures

import grpc

KNOWN = {"", "web"}


def read_service(request):
    """HealthCheckRequest { string service = 1; }"""
    return request[2:2 + request[1]].decode() if request else ""


def check(service, context):
    if service not in KNOWN:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    with open(sys.argv[2]) as file:
        return b"\x08" + bytes([int(file.read())])


def main():
    server = grpc.server(futures.ThreadPoolExecutor(2))
    handler = grpc.unary_unary_rpc_method_handler(check, request_deserializer=read_service,
                                                  response_serializer=None)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health", {"Check": handler}),))
    assert server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
