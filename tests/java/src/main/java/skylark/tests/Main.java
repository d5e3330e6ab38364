package skylark.tests;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/**
 * The official client as a program: {@code send}, {@code consume} or {@code both}. One JSON line for each result; exit
 * code 0 when all was as it should be, 1 when not, 2 when the command line is wrong.
 */
public final class Main {
    private static final String HELP = String.join("\n",
        "send    --namesrv A --topic T --count N --mode sync|async|oneway|batch [--tags TagA,TagB]",
        "consume --namesrv A --topic T[,T2] --group G --expect N [--tags 'TagA || Aa'] [--idle-ms 20000]",
        "        [--settle-ms 1000] [--print true]",
        "both    --namesrv A --prefix P --group G --count N --expect N [--tags 'TagA || Aa'] [--modes sync,async,oneway,batch]",
        "        (topics P-sync, P-async, P-oneway, P-batch must exist)");

    private final Map<String, String> options = new HashMap<>();

    private Main() {
    }

    public static void main(String[] args) {
        int code = 1;
        try {
            code = new Main().run(args) ? 0 : 1;
        } catch (Usage wrong) {
            System.err.println(wrong.getMessage() + "\n" + HELP);
            code = 2;
        } catch (Exception failed) {
            String text = failed.getMessage() == null ? failed.toString() : failed.getMessage();
            new Report("error").put("error", text.split("\n")[0]).print();
        }
        System.exit(code);
    }

    private boolean run(String[] args) throws Exception {
        if (args.length == 0) {
            throw new Usage("say what to do");
        }
        for (int i = 1; i < args.length; i += 2) {
            if (!args[i].startsWith("--") || i + 1 == args.length) {
                throw new Usage("options are --name value, not " + args[i]);
            }
            options.put(args[i].substring(2), args[i + 1]);
        }
        new Report("client").put("serialize", RemotingCommand.getSerializeTypeConfigInThisServer())
            .put("version", MQVersion.getVersionDesc(MQVersion.CURRENT_VERSION)).print();
        switch (args[0]) {
            case "send":
                return send();
            case "consume":
                return consume();
            case "both":
                return both();
            default:
                throw new Usage("unknown command " + args[0]);
        }
    }

    private boolean send() throws Exception {
        String topic = need("topic");
        DefaultMQProducer producer = producer("send-" + topic);
        try {
            String[] tags = options.containsKey("tags") ? need("tags").split(",") : Content.TAGS;
            return new Sender(producer, topic, number("count", null), tags).run(need("mode"));
        } finally {
            producer.shutdown();
        }
    }

    private boolean consume() throws Exception {
        return judge(receiver(need("topic").split(",")));
    }

    private boolean judge(Receiver receiver) throws Exception {
        try {
            receiver.start();
            return receiver.finish(number("expect", null), number("idle-ms", 20_000), number("settle-ms", 1000));
        } finally {
            receiver.shutdown();
        }
    }

    private boolean both() throws Exception {
        String[] modes = options.getOrDefault("modes", "sync,async,oneway,batch").split(",");
        List<String> topics = new ArrayList<>();
        for (String mode : modes) {
            topics.add(need("prefix") + "-" + mode);
        }
        int count = number("count", null);
        Receiver receiver = receiver(topics.toArray(new String[0]));
        DefaultMQProducer producer = producer("both-" + need("prefix"));
        AtomicBoolean good = new AtomicBoolean(true);
        try {
            receiver.start();
            List<Thread> threads = new ArrayList<>();
            for (int i = 0; i < modes.length; i++) {
                Sender sender = new Sender(producer, topics.get(i), count, Content.TAGS);
                String mode = modes[i];
                Thread thread = new Thread(() -> {
                    try {
                        if (!sender.run(mode)) {
                            good.set(false);
                        }
                    } catch (InterruptedException | RuntimeException stopped) {
                        good.set(false);
                        new Report("error").put("error", stopped.toString()).print();
                    }
                });
                thread.start();
                threads.add(thread);
            }
            for (Thread thread : threads) {
                thread.join();
            }
            return receiver.finish(number("expect", null), number("idle-ms", 20_000), number("settle-ms", 1000)) & good.get();
        } finally {
            receiver.shutdown();
            producer.shutdown();
        }
    }

    private DefaultMQProducer producer(String group) throws MQClientException {
        DefaultMQProducer producer = new DefaultMQProducer(group);
        producer.setNamesrvAddr(need("namesrv"));
        producer.setInstanceName(group);
        producer.setSendMsgTimeout(number("timeout-ms", 10_000));
        producer.start();
        return producer;
    }

    private Receiver receiver(String[] topics) throws MQClientException {
        return new Receiver(need("namesrv"), need("group"), topics, options.getOrDefault("tags", "*"), Content.TAGS,
            Boolean.parseBoolean(options.get("print")));
    }

    private String need(String name) {
        String value = options.get(name);
        if (value == null) {
            throw new Usage("--" + name + " is missing");
        }
        return value;
    }

    private int number(String name, Integer otherwise) {
        if (otherwise != null && !options.containsKey(name)) {
            return otherwise;
        }
        try {
            return Integer.parseInt(need(name));
        } catch (NumberFormatException wrong) {
            throw new Usage("--" + name + " takes a number, not " + options.get(name));
        }
    }
}
