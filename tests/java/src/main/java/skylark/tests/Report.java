package skylark.tests;

import java.util.LinkedHashMap;
import java.util.Map;

/** One JSON line on standard output. */
final class Report {
    private final Map<String, Object> fields = new LinkedHashMap<>();

    Report(String kind) {
        fields.put("kind", kind);
    }

    /** A number, a boolean, null, or anything else as its text. */
    Report put(String name, Object value) {
        fields.put(name, value);
        return this;
    }

    void print() {
        StringBuilder line = new StringBuilder("{");
        fields.forEach((name, value) -> {
            line.append(line.length() > 1 ? "," : "");
            quote(line, name);
            line.append(':');
            if (value == null || value instanceof Number || value instanceof Boolean) {
                line.append(value);
            } else {
                quote(line, value.toString());
            }
        });
        synchronized (System.out) {
            System.out.println(line.append('}'));
            System.out.flush();
        }
    }

    private static void quote(StringBuilder out, String text) {
        out.append('"');
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 0x20) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }
}
