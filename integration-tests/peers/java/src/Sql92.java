import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONArray;
import com.alibaba.fastjson2.JSONObject;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.expression.MQFilterException;
import org.apache.rocketmq.filter.parser.SelectorParser;

/**
 * What Java's filter says of the rows of a file: each has an expression and properties, and gets its answer.
 * `Peer sql92 file=broker/fixtures/sql92.json`; the file is rewritten in place, so that rows can be added by hand.
 */
final class Sql92 {
    private Sql92() {
    }

    static String run(Map<String, String> options) throws Exception {
        Path file = Path.of(options.get("file"));
        JSONArray rows = JSON.parseArray(Files.readString(file));
        StringBuilder text = new StringBuilder("[\n");
        for (int i = 0; i < rows.size(); i++) {
            JSONObject row = rows.getJSONObject(i);
            Map<String, String> properties = new HashMap<>();
            JSONObject given = row.getJSONObject("properties");
            given.forEach((name, value) -> properties.put(name, (String) value));
            row.put("answer", answer(row.getString("expression"), properties));
            text.append(row).append(i + 1 < rows.size() ? ",\n" : "\n");
        }
        Files.writeString(file, text.append("]\n"));
        return rows.size() + " rows";
    }

    private static String answer(String text, Map<String, String> properties) {
        Expression compiled;
        try {
            compiled = SelectorParser.parse(text);
        } catch (MQFilterException refused) {
            return "refused";
        }
        try {
            return String.valueOf(compiled.evaluate(new MessageEvaluationContext(properties)));
        } catch (Exception incomparable) {
            return "error";
        }
    }
}
