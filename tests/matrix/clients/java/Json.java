import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** As much of JSON as the jobs need. */
final class Json {
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    static Object parse(String text) {
        return new Json(text).value();
    }

    private char peek() {
        while (Character.isWhitespace(text.charAt(at))) at++;
        return text.charAt(at);
    }

    private Object value() {
        switch (peek()) {
            case '{': {
                Map<String, Object> map = new LinkedHashMap<>();
                at++;
                while (peek() != '}') {
                    String key = string();
                    peek();
                    at++;
                    map.put(key, value());
                    if (peek() == ',') at++;
                }
                at++;
                return map;
            }
            case '[': {
                List<Object> list = new ArrayList<>();
                at++;
                while (peek() != ']') {
                    list.add(value());
                    if (peek() == ',') at++;
                }
                at++;
                return list;
            }
            case '"':
                return string();
            default: {
                int from = at;
                while (at < text.length() && ",]} \n".indexOf(text.charAt(at)) < 0) at++;
                String word = text.substring(from, at);
                if (word.equals("null")) return null;
                if (word.equals("true") || word.equals("false")) return word.equals("true");
                if (word.matches("-?\\d+")) return Long.parseLong(word);
                return Double.parseDouble(word);
            }
        }
    }

    private String string() {
        peek();
        StringBuilder out = new StringBuilder();
        for (at++; text.charAt(at) != '"'; at++) {
            char c = text.charAt(at);
            if (c != '\\') {
                out.append(c);
                continue;
            }
            c = text.charAt(++at);
            if (c == 'u') {
                out.append((char) Integer.parseInt(text.substring(at + 1, at + 5), 16));
                at += 4;
            } else {
                int known = "bfnrt".indexOf(c);
                out.append(known < 0 ? c : "\b\f\n\r\t".charAt(known));
            }
        }
        at++;
        return out.toString();
    }

    static String show(Object v) {
        if (v == null || v instanceof Boolean || v instanceof Number) return String.valueOf(v);
        StringBuilder out = new StringBuilder();
        if (v instanceof List) {
            for (Object o : (List<?>) v) out.append(out.length() == 0 ? "" : ",").append(show(o));
            return "[" + out + "]";
        }
        if (v instanceof Map) {
            for (Map.Entry<?, ?> e : ((Map<?, ?>) v).entrySet()) {
                out.append(out.length() == 0 ? "" : ",").append(show(e.getKey())).append(":").append(show(e.getValue()));
            }
            return "{" + out + "}";
        }
        for (char c : v.toString().toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < ' ' || c > '~') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return "\"" + out + "\"";
    }
}
