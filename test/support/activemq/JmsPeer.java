import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import javax.jms.*;
import org.apache.activemq.ActiveMQConnectionFactory;

/**
 * A JMS client of the tests. It tells of each message in the queue `to.jms`, and answers those that ask for it.
 * Orders, one a line: `text QUEUE TEXT`, `bytes QUEUE HEX`, `ask QUEUE TEXT`, which tells the answer.
 */
public class JmsPeer {
  static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  public static void main(String[] words) throws Exception {
    Connection connection = new ActiveMQConnectionFactory("app", "secret", words[0]).createConnection();
    connection.start();
    Session answering = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
    answering.createConsumer(answering.createQueue("to.jms")).setMessageListener(message -> {
      try {
        OUT.println("GOT " + described(message));
        if (message.getJMSReplyTo() == null) return;
        TextMessage answer = answering.createTextMessage("re: " + textOf(message));
        answer.setJMSCorrelationID(message.getJMSCorrelationID());
        answer.setIntProperty("n", 7);
        answering.createProducer(message.getJMSReplyTo()).send(answer);
      } catch (JMSException e) {
        OUT.println("FAILED " + e);
      }
    });
    Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
    OUT.println("READY");
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = in.readLine()) != null; ) {
      String[] order = line.split(" ", 3);
      MessageProducer producer = session.createProducer(session.createQueue(order[1]));
      if (order[0].equals("bytes")) {
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(HexFormat.of().parseHex(order[2]));
        producer.send(message);
        continue;
      }
      TextMessage message = session.createTextMessage(order[2]);
      message.setIntProperty("n", 5);
      message.setStringProperty("k", "a:b\\c é");
      message.setStringProperty("hasOwnProperty", "x");
      message.setStringProperty("long", "é".repeat(5000));
      message.setJMSType("greeting");
      if (order[0].equals("ask")) {
        TemporaryQueue answers = session.createTemporaryQueue();
        message.setJMSReplyTo(answers);
        message.setJMSCorrelationID("ask-1");
        producer.send(message);
        OUT.println("ANSWER " + described(session.createConsumer(answers).receive(20000)));
        continue;
      }
      producer.setPriority(7);
      producer.setTimeToLive(60000);
      producer.send(message);
    }
    connection.close();
  }

  static String described(Message message) throws JMSException {
    if (message == null) return "nothing";
    Map<String, String> properties = new TreeMap<>();
    for (Enumeration<?> names = message.getPropertyNames(); names.hasMoreElements(); ) {
      String name = (String) names.nextElement();
      properties.put(name, String.valueOf(message.getObjectProperty(name)));
    }
    String kind = message instanceof TextMessage ? "text" : message instanceof BytesMessage ? "bytes" : "other";
    String mode = message.getJMSDeliveryMode() == DeliveryMode.PERSISTENT ? "persistent" : "volatile";
    return String.join("|", kind, textOf(message), String.valueOf(message.getJMSCorrelationID()), String.valueOf(message.getJMSPriority()), mode,
        message.getJMSExpiration() > 0 ? "expires" : "stays", properties.toString());
  }

  static String textOf(Message message) throws JMSException {
    if (message instanceof TextMessage) return ((TextMessage) message).getText();
    if (!(message instanceof BytesMessage)) return "";
    byte[] bytes = new byte[(int) ((BytesMessage) message).getBodyLength()];
    ((BytesMessage) message).readBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }
}
