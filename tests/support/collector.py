"""A collector of traces that is strict: what it is sent is read by OpenTelemetry's own schema, in which nothing may be unknown.

Prints its port, then a line of JSON for each span, or "bad" and what is wrong with a request."""

import base64
import http.server
import json

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

LENGTHS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def with_bytes(value):
    """OTLP has ids in hexadecimal digits, where protobuf's JSON has base64."""
    if isinstance(value, list):
        return [with_bytes(each) for each in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for key, each in value.items():
        if key in LENGTHS:
            raw = bytes.fromhex(each)
            assert len(raw) == LENGTHS[key] and each == each.lower(), f"{key}: {each}"
            assert any(raw), f"{key} is 0"
            result[key] = base64.b64encode(raw).decode()
        else:
            result[key] = with_bytes(each)
    return result


def attributes(pairs):
    result = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        assert kind and pair.key not in result, f"attribute {pair.key}"
        result[pair.key] = getattr(pair.value, kind)
    return result


def told(span, service):
    assert span.name and len(span.name) <= 255, "a span's name"
    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, "a span's times"
    values = attributes(span.attributes)
    assert values["db.system.name"] in ("mysql", "mariadb"), values
    return {
        "trace": span.trace_id.hex(),
        "span": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "name": span.name,
        "kind": span.kind,
        "flags": span.flags,
        "start": span.start_time_unix_nano,
        "us": (span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
        "status": span.status.code,
        "message": span.status.message,
        "service": service,
        **values,
    }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            assert self.path == "/v1/traces", self.path
            assert self.headers["Content-Type"] == "application/json", "Content-Type"
            request = ExportTraceServiceRequest()
            json_format.ParseDict(with_bytes(json.loads(body)), request)
            for resource_spans in request.resource_spans:
                resource = attributes(resource_spans.resource.attributes)
                for scope_spans in resource_spans.scope_spans:
                    assert scope_spans.scope.name == "dpm", "a scope"
                    for span in scope_spans.spans:
                        print(json.dumps(told(span, resource)), flush=True)
            status = 200
        except Exception as problem:  # whatever is wrong, the test should see it
            print("bad", repr(problem), body[:2000], flush=True)
            status = 400
        answer = json_format.MessageToJson(ExportTraceServiceResponse()).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
